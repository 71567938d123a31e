//! The log of one test: where it is, and what it says. Links come from data, so nothing of them
//! is trusted: other schemes than file, http and https are refused, and the text is shown by us.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zip::ZipArchive;

/// No more of a log is shown.
const MOST_BYTES: u64 = 16 << 20;

/// Where a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, and the sample in it where the link names one.
    File(PathBuf, Option<String>),
    /// An address.
    Web(String),
}

/// Where a row's `log` points. A relative path is one next to the file that the row was imported
/// from (`source`), else in the store's folder; never in the current one.
pub fn place(log: &str, source: Option<&str>, store: &Path) -> Result<Place, String> {
    let log = log.trim();
    if log.is_empty() || log.contains('\0') {
        return Err("the row names no log".to_owned());
    }
    if let Some((scheme, rest)) = log.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Place::Web(log.to_owned())),
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if !path.starts_with('/') {
                    return Err(format!("{log} is a file of another machine"));
                }
                Ok(file(&unescaped(path), Path::new("/")))
            }
            _ => Err(format!(
                "{scheme} links are not opened: only files, http and https"
            )),
        };
    }
    let beside = source
        .filter(|source| !source.contains("://"))
        .and_then(|source| Path::new(source).parent())
        .filter(|folder| folder.is_absolute());
    Ok(file(log, beside.unwrap_or(store)))
}

fn file(log: &str, folder: &Path) -> Place {
    // A file that has the name as it stands needs no sample.
    let whole = folder.join(log);
    match log.rsplit_once('#') {
        Some((path, sample)) if !path.is_empty() && !sample.is_empty() && !whole.is_file() => {
            Place::File(folder.join(path), Some(sample.to_owned()))
        }
        _ => Place::File(whole, None),
    }
}

/// A path of a URL with its percent signs resolved.
fn unescaped(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%')
            .then(|| path.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The user's own command for a log: its words, with the place as one argument, in place of `{}`
/// or at the end.
pub fn command(words: &[String], place: &Place) -> Vec<OsString> {
    let own = match place {
        Place::File(path, _) => path.clone().into_os_string(),
        Place::Web(url) => url.into(),
    };
    let named = words.iter().any(|word| word == "{}");
    let mut command: Vec<OsString> = words
        .iter()
        .map(|word| {
            if word == "{}" {
                own.clone()
            } else {
                word.into()
            }
        })
        .collect();
    if !named {
        command.push(own);
    }
    command
}

/// What a log says, JSON indented, of an Inspect log the sample alone. It is text of others:
/// sanitise before showing.
pub fn text(path: &Path, sample: Option<&str>, trial: Option<i64>) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let meta = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !meta.is_file() {
        return Err(failed(&"this is not a regular file"));
    }
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let mut magic = [0; 4];
    let packed = file.read_exact(&mut magic).is_ok() && magic == *b"PK\x03\x04";
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    let cut;
    if packed {
        let mut archive = ZipArchive::new(file).map_err(|error| failed(&error))?;
        let name = member(&archive, sample, trial).ok_or_else(|| match sample {
            Some(sample) => failed(&format!("there is no sample {sample} in it")),
            None => failed(&"an archive, and the link names no sample in it"),
        })?;
        let member = archive.by_name(&name).map_err(|error| failed(&error))?;
        cut = member.size() > MOST_BYTES;
        member
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
    } else {
        cut = meta.len() > MOST_BYTES;
        file.take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
        let own = sample.and_then(|sample| of_sample(&value, sample, trial));
        if let Ok(pretty) = serde_json::to_string_pretty(own.unwrap_or(&value)) {
            text = pretty;
        }
    }
    if cut {
        text.push_str("\n… the log is longer: this is its beginning");
    }
    Ok(text)
}

/// The archive's file of a sample; of several epochs that of the trial.
fn member(archive: &ZipArchive<File>, sample: Option<&str>, trial: Option<i64>) -> Option<String> {
    let begin = format!("samples/{}_epoch_", sample?);
    let mut names: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .filter(|name| name.starts_with(&begin))
        .collect();
    names.sort_unstable();
    let own = trial.map(|trial| format!("{begin}{trial}.json"));
    let found = names.iter().find(|name| own.as_ref() == Some(*name));
    found.or(names.first()).cloned()
}

/// A sample within a log that is one document.
fn of_sample<'a>(log: &'a Value, sample: &str, trial: Option<i64>) -> Option<&'a Value> {
    let samples = log.get("samples")?.as_array()?;
    let is_own = |own: &&Value| match own.get("id") {
        Some(Value::String(id)) => id == sample,
        Some(Value::Number(id)) => id.to_string() == sample,
        _ => false,
    };
    let of_trial = |own: &&Value| own.get("epoch").and_then(Value::as_i64) == trial;
    let all = || samples.iter().filter(is_own);
    all().find(of_trial).or_else(|| all().next())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn links_resolve_against_their_source_and_other_schemes_are_refused() {
        let store = Path::new("/stores/s");
        let of = |log: &str, source: Option<&str>| place(log, source, store);
        let file = |path: &str, sample: Option<&str>| {
            Ok(Place::File(path.into(), sample.map(str::to_owned)))
        };
        assert_eq!(of("a.log", None), file("/stores/s/a.log", None));
        assert_eq!(
            of("logs/a.eval#7", Some("/runs/night/x.jsonl")),
            file("/runs/night/logs/a.eval", Some("7"))
        );
        assert_eq!(
            of("/abs/a.eval#q#7", None),
            file("/abs/a.eval#q", Some("7"))
        );
        assert_eq!(of("a.log", Some("x.jsonl")), file("/stores/s/a.log", None));
        assert_eq!(of("file:///a%20b", None), file("/a b", None));
        assert_eq!(
            of("https://h/x", None),
            Ok(Place::Web("https://h/x".into()))
        );
        for log in [
            "javascript://x",
            "s3://b/k",
            "ssh://h",
            "",
            " ",
            "file://host/x",
        ] {
            assert!(of(log, None).is_err(), "{log}");
        }
        let own = ["code".to_owned(), "--goto".to_owned()];
        let at = Place::File("/a b;rm".into(), None);
        assert_eq!(command(&own, &at), ["code", "--goto", "/a b;rm"]);
        let inside = ["sh".to_owned(), "{}".to_owned(), "x".to_owned()];
        assert_eq!(command(&inside, &at), ["sh", "/a b;rm", "x"]);
    }

    #[test]
    fn a_sample_of_an_archive_or_a_document_is_shown_alone() {
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("a.eval");
        let mut archive = zip::ZipWriter::new(File::create(&packed).unwrap());
        for (name, body) in [
            ("samples/7_epoch_1.json", "{\"id\": 7, \"epoch\": 1}"),
            ("samples/7_epoch_2.json", "{\"id\": 7, \"epoch\": 2}"),
        ] {
            archive
                .start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            archive.write_all(body.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        let second = text(&packed, Some("7"), Some(2)).unwrap();
        assert_eq!(second, "{\n  \"id\": 7,\n  \"epoch\": 2\n}");
        assert!(
            text(&packed, Some("7"), None)
                .unwrap()
                .contains("\"epoch\": 1")
        );
        assert!(
            text(&packed, Some("8"), None)
                .unwrap_err()
                .contains("no sample 8")
        );
        let whole = folder.path().join("a.json");
        std::fs::write(&whole, "{\"samples\": [{\"id\": \"x\"}, {\"id\": \"y\"}]}").unwrap();
        assert_eq!(
            text(&whole, Some("y"), None).unwrap(),
            "{\n  \"id\": \"y\"\n}"
        );
        let plain = folder.path().join("a.log");
        std::fs::write(&plain, "one\n\u{1b}[31mtwo").unwrap();
        assert_eq!(text(&plain, None, None).unwrap(), "one\n\u{1b}[31mtwo");
        assert!(
            text(folder.path(), None, None)
                .unwrap_err()
                .contains("not a regular file")
        );
    }
}
