//! What `~/.aws/credentials` and `~/.aws/config` say of a profile, as the usual SDKs read them.

use std::collections::HashMap;
use std::path::PathBuf;

use object_store::aws::AmazonS3ConfigKey;

use super::Environment;
use crate::store::{Error, Result};

/// The settings of the chosen profile; none where the environment brings credentials itself.
pub(super) fn read(environment: Environment<'_>) -> Result<Vec<(AmazonS3ConfigKey, String)>> {
    let home = || environment("HOME").map(PathBuf::from);
    let file = |variable: &str, usual: &str| {
        let named = environment(variable).map(PathBuf::from);
        let path = named.or_else(|| Some(home()?.join(".aws").join(usual)));
        path.and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default()
    };
    let chosen = environment("AWS_PROFILE").or_else(|| environment("AWS_DEFAULT_PROFILE"));
    let name = chosen.clone().unwrap_or_else(|| "default".to_owned());
    let credentials = section(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &name);
    let config = file("AWS_CONFIG_FILE", "config");
    let config = match section(&config, &format!("profile {name}")) {
        found if found.is_empty() => section(&config, &name),
        found => found,
    };
    let mut found = Vec::new();
    for (key, setting) in [
        ("region", AmazonS3ConfigKey::DefaultRegion),
        ("endpoint_url", AmazonS3ConfigKey::Endpoint),
    ] {
        if let Some(value) = config.get(key).or_else(|| credentials.get(key)) {
            found.push((setting, value.clone()));
        }
    }
    // Containers and pods bring their own, which the library asks for.
    let own = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    if own.iter().any(|name| environment(name).is_some()) {
        return Ok(found);
    }
    let key = |name: &str| credentials.get(name).or_else(|| config.get(name)).cloned();
    match (key("aws_access_key_id"), key("aws_secret_access_key")) {
        (Some(id), Some(secret)) => {
            found.push((AmazonS3ConfigKey::AccessKeyId, id));
            found.push((AmazonS3ConfigKey::SecretAccessKey, secret));
            let token = key("aws_session_token");
            found.extend(token.map(|token| (AmazonS3ConfigKey::Token, token)));
        }
        _ if chosen.is_some() => {
            return Err(Error::Refused(format!(
                "the profile {name} has no keys: 'eval \"$(aws configure export-credentials \
                 --profile {name} --format env)\"' takes them from wherever it does"
            )));
        }
        _ => {}
    }
    Ok(found)
}

/// The settings of a section: `name = value` lines after `[section]`.
fn section(text: &str, name: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default();
            is_inside = section.split_whitespace().eq(name.split_whitespace());
        } else if is_inside
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_both_files_unless_the_environment_has_keys() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".aws")).unwrap();
        let write = |name: &str, text| std::fs::write(folder.path().join(".aws").join(name), text);
        write(
            "credentials",
            "[default]\naws_access_key_id = A\naws_secret_access_key = B\n\n# more\n[lab]\n\
             aws_access_key_id=C\naws_secret_access_key=D=\naws_session_token = E\n[sso]\n",
        )
        .unwrap();
        write(
            "config",
            "[default]\nregion = eu-west-1\n[profile lab]\nendpoint_url = http://h\n",
        )
        .unwrap();
        let of = |pairs: &[(&str, &str)]| {
            let home = folder.path().display().to_string();
            let environment = |name: &str| match name {
                "HOME" => Some(home.clone()),
                _ => pairs
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned()),
            };
            read(&environment).map(|found| {
                let values: Vec<String> = found.into_iter().map(|(_, value)| value).collect();
                values.join(" ")
            })
        };
        assert_eq!(of(&[]).unwrap(), "eu-west-1 A B");
        assert_eq!(of(&[("AWS_PROFILE", "lab")]).unwrap(), "http://h C D= E");
        assert_eq!(of(&[("AWS_ACCESS_KEY_ID", "X")]).unwrap(), "eu-west-1");
        let error = of(&[("AWS_PROFILE", "sso")]).unwrap_err().to_string();
        assert!(error.contains("profile sso"), "{error}");
    }
}
