//! Places that are named by a URL. A secret in one is refused, and never shown.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::store::{Error, Result};

/// A place that finished files are put into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Url {
    /// `file:///folder`.
    Folder(PathBuf),
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    Bucket {
        /// Whose it is.
        cloud: Cloud,
        /// The bucket, or container.
        bucket: String,
        /// What its objects' names begin with; empty for all.
        prefix: String,
    },
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// S3, or a server that speaks like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Cloud {
    /// What its URLs begin with.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    fn of(scheme: &str) -> Option<Self> {
        let all = [Self::S3, Self::Gcs, Self::Azure];
        all.into_iter()
            .find(|cloud| cloud.scheme().eq_ignore_ascii_case(scheme))
    }
}

impl Url {
    /// Reads a URL; the error says what can be named, and nothing that may be a secret.
    pub fn parse(text: &str) -> Result<Self> {
        let shown = stripped(text);
        let refused = |why: &str| Err(Error::Refused(format!("{shown} {why}")));
        let Some((scheme, rest)) = text.split_once(':') else {
            return refused("is not a URL");
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        if rest.contains(['?', '#']) {
            return refused(
                "has more than a place in it: leave out what follows ? or #; credentials, endpoint \
                 and region come from the environment (AWS_…, GOOGLE_…, AZURE_…)",
            );
        }
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // A secret key with a slash in it ends the host.
        let has_user = host.contains('@') || (host.contains(':') && path.contains('@'));
        if has_user {
            return refused(
                "has credentials in it, which every listing of processes shows: leave them out, \
                 and set the variables of the environment (AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY or a profile, GOOGLE_APPLICATION_CREDENTIALS, AZURE_…)",
            );
        }
        if scheme.eq_ignore_ascii_case("file") {
            if !matches!(host, "" | "localhost") || path.len() < 2 {
                return refused("names no folder of this machine: write file:///folder");
            }
            return Ok(Self::Folder(decoded(path)));
        }
        let Some(cloud) = Cloud::of(scheme) else {
            return refused(
                "is a URL that evaltop can't open: name a folder, file:///folder, \
                 s3://bucket/prefix, gs://bucket/prefix or az://container/prefix (./NAME for a \
                 folder with such a name)",
            );
        };
        let is_name = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if host.is_empty() || !is_name {
            return refused(&format!(
                "names no bucket: write {}://bucket/prefix, with letters, digits, dots and dashes \
                 in the bucket's name",
                cloud.scheme()
            ));
        }
        Ok(Self::Bucket {
            cloud,
            bucket: host.to_owned(),
            prefix: path.trim_matches('/').to_owned(),
        })
    }

    /// As people write it.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(path) => format!("file://{}", path.display()),
            Self::Bucket {
                cloud,
                bucket,
                prefix,
            } => {
                let slash = if prefix.is_empty() { "" } else { "/" };
                format!("{}://{bucket}{slash}{prefix}", cloud.scheme())
            }
        }
    }
}

/// A path of a URL, in which `%20` stands for a blank.
fn decoded(path: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let figure = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = (figure(bytes.get(at + 1)), figure(bytes.get(at + 2)));
        if let (b'%', (Some(high), Some(low))) = (byte, pair) {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    std::ffi::OsString::from_vec(decoded).into()
}

/// Whether a path begins like a URL: `scheme://`, or the short form `file:/`.
pub fn is_url(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    let Some(colon) = path.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (scheme, rest) = path.split_at(colon);
    let named = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let file = scheme.eq_ignore_ascii_case(b"file") && rest.starts_with(b":/");
    named && (file || rest.starts_with(b"://"))
}

/// A word without the parts of a URL that may be secrets: user and password, and all from `?` on.
pub fn stripped(text: &str) -> Cow<'_, str> {
    let Some(begin) = text.find("://").map(|at| at + 3) else {
        return Cow::Borrowed(text);
    };
    let (scheme, rest) = text.split_at(begin);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // A secret key may have a slash in it.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    if scheme.len() + rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{scheme}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_no_folder_and_a_path_with_a_colon_is() {
        for url in [
            "s3://bucket/x",
            "file:///x",
            "file:/x",
            "FILE:///x",
            "git+ssh://h/x",
            "hf://a",
        ] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in [
            "x", "./s3://x", "a:b", "12:00", "/x://y", "://x", "1s://x", "a b://c", "",
        ] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn names_places_and_never_a_secret() {
        let name = |text| Url::parse(text).unwrap().name();
        assert_eq!(name("s3://b/a/b/"), "s3://b/a/b");
        assert_eq!(name("s3://b"), "s3://b");
        assert_eq!(name("GS://b/a/"), "gs://b/a");
        assert_eq!(name("az://c/a"), "az://c/a");
        assert_eq!(name("file:///a%20b/c"), "file:///a b/c");
        assert_eq!(name("file:/a"), "file:///a");
        assert_eq!(name("file://localhost/a"), "file:///a");
        for text in [
            "s3://AKI:hunter2@b/x",
            "s3://AKI:hun/ter2@b/x",
            "s3://b/x?token=hunter2",
            "http://u:hunter2@h/x",
            "s3://",
            "file://host/x",
            "gs://AKI:hunter2@b/x",
            "az://c/x?sv=1&sig=hunter2",
            "abfs://c/x",
            "gs:///x",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            for secret in ["hun", "ter2", "AKI"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
    }
}
