//! Containers of Azure Blob Storage.

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::{Environment, Opened, options, retries};
use crate::store::{Error, Result};

/// With what the environment has: an account's key, a connection string, a SAS token, a service
/// principal, a workload identity, or the identity of the machine.
pub(super) fn open(container: &str, environment: Environment<'_>) -> Result<Opened> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_retry(retries());
    let mut options = options();
    for (key, value) in settings(environment)? {
        if builder.get_config_value(&key).is_none() {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let is_emulator = builder.get_config_value(&AzureConfigKey::UseEmulator);
    if endpoint.is_some_and(|url| url.starts_with("http://"))
        || is_emulator.as_deref() == Some("true")
    {
        options = options.with_allow_http(true);
    }
    if builder
        .get_config_value(&AzureConfigKey::AccountName)
        .is_none()
        && is_emulator.is_none()
    {
        return Err(Error::Refused(
            "the account is not known: set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING"
                .to_owned(),
        ));
    }
    let store = builder.with_client_options(options).build();
    store
        .map(|store| Box::new(store) as _)
        .map_err(|error| Error::Refused(super::reason(&error)))
}

/// The variables of Azure's own command line, and the parts of a connection string.
fn settings(environment: Environment<'_>) -> Result<Vec<(AzureConfigKey, String)>> {
    use AzureConfigKey as Key;
    let named = [
        ("AZURE_STORAGE_ACCOUNT", Key::AccountName),
        ("AZURE_STORAGE_KEY", Key::AccessKey),
        ("AZURE_STORAGE_SERVICE_ENDPOINT", Key::Endpoint),
    ];
    let found = named
        .into_iter()
        .filter_map(|(name, key)| Some((key, environment(name)?)));
    let mut found: Vec<(Key, String)> = found.collect();
    let Some(connection) = environment("AZURE_STORAGE_CONNECTION_STRING") else {
        return Ok(found);
    };
    let part = |name: &str| {
        let mut parts = connection
            .split(';')
            .filter_map(|part| part.split_once('='));
        let part = parts.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        part.map(|(_, value)| value.trim().to_owned())
    };
    let account = part("AccountName");
    let endpoint = part("BlobEndpoint").or_else(|| {
        let suffix = part("EndpointSuffix")?;
        let scheme = part("DefaultEndpointsProtocol").unwrap_or_else(|| "https".to_owned());
        Some(format!("{scheme}://{}.blob.{suffix}", account.as_ref()?))
    });
    // Its text may be a secret, so it isn't shown.
    if account.is_none() && endpoint.is_none() {
        return Err(Error::Refused(
            "AZURE_STORAGE_CONNECTION_STRING has neither AccountName nor BlobEndpoint".to_owned(),
        ));
    }
    // A SAS needs no account, and the library wants one: it is the first part of the host.
    let of_host = || {
        let host = endpoint.as_ref()?.split_once("://")?.1;
        Some(host.split(['.', '/']).next()?.to_owned())
    };
    let account = account.or_else(of_host);
    found.extend(account.map(|value| (Key::AccountName, value)));
    found.extend(part("AccountKey").map(|value| (Key::AccessKey, value)));
    found.extend(part("SharedAccessSignature").map(|value| (Key::SasKey, value)));
    found.extend(endpoint.map(|value| (Key::Endpoint, value)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_has_account_key_and_endpoint() {
        let of = |text: &str| {
            let environment =
                |name: &str| (name == "AZURE_STORAGE_CONNECTION_STRING").then(|| text.to_owned());
            settings(&environment).map(|found| {
                let values: Vec<String> = found.into_iter().map(|(_, value)| value).collect();
                values.join(" ")
            })
        };
        assert_eq!(
            of(
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k==;\
                EndpointSuffix=core.windows.net"
            )
            .unwrap(),
            "a k== https://a.blob.core.windows.net"
        );
        assert_eq!(
            of("BlobEndpoint=https://a.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=s")
                .unwrap(),
            "a sv=1&sig=s https://a.blob.core.windows.net/"
        );
        let error = of("secret").unwrap_err().to_string();
        assert!(
            error.contains("AccountName") && !error.contains("secret"),
            "{error}"
        );
    }
}
