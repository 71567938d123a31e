//! Buckets of S3, or of a server that speaks like it.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::{Environment, Opened, options, profile, retries};
use crate::store::{Error, Result};

/// With what the environment and `~/.aws` have.
pub(super) fn open(bucket: &str, environment: Environment<'_>) -> Result<Opened> {
    let mut builder = AmazonS3Builder::from_env()
        .with_client_options(options())
        .with_bucket_name(bucket)
        .with_retry(retries());
    let profile = profile::read(environment)?;
    let named = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
    if let Some(endpoint) = environment("AWS_ENDPOINT_URL_S3") {
        builder = builder.with_endpoint(endpoint);
    }
    for (key, value) in profile {
        if !named(&builder, key) {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if endpoint.is_some_and(|url| url.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let store = builder.build();
    store
        .map(|store| Box::new(store) as _)
        .map_err(|error| Error::Refused(super::reason(&error)))
}
