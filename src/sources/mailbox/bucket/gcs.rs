//! Buckets of Google Cloud Storage.

use object_store::gcp::GoogleCloudStorageBuilder;

use super::{Environment, Opened, options, retries};
use crate::store::{Error, Result};

/// With the application default credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names,
/// what `gcloud auth application-default login` left, or those of the machine.
pub(super) fn open(bucket: &str, environment: Environment<'_>) -> Result<Opened> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retries());
    let mut options = options();
    // As Google's own libraries take it: an emulator, which asks for no credentials.
    if let Some(host) = environment("STORAGE_EMULATOR_HOST") {
        let url = if host.contains("://") {
            host
        } else {
            format!("http://{host}")
        };
        options = options.with_allow_http(url.starts_with("http://"));
        let url = url.trim_end_matches('/');
        // Without a token the library asks the machine for one, even where it signs nothing.
        builder = builder.with_base_url(url).with_bearer_token("none");
    }
    let store = builder.with_client_options(options).build();
    store
        .map(|store| Box::new(store) as _)
        .map_err(|error| Error::Refused(super::reason(&error)))
}
