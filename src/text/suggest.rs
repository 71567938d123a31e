//! The name that was probably meant by an unknown one.

/// The closest name: one that ends with a dot and `typed`, else at most two letters added, removed,
/// changed or swapped, or the only one that begins with `typed`. Case does not matter.
pub fn nearest<'a>(typed: &str, there: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let letters = typed.chars().count();
    let mut near: Option<(usize, &str)> = None;
    let mut longer = Vec::new();
    for name in there {
        let lower = name.to_lowercase();
        let nested = lower.rsplit_once('.').is_some_and(|(_, end)| end == typed);
        let distance = if nested {
            0
        } else {
            strsim::osa_distance(&typed, &lower)
        };
        if distance <= 2 && distance < letters && near.is_none_or(|found| (distance, name) < found)
        {
            near = Some((distance, name));
        }
        if letters >= 3 && lower.starts_with(&typed) {
            longer.push(name);
        }
    }
    near.map(|(_, name)| name).or(match longer.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

/// Ends a sentence about an unknown name: " (did you mean 'x'?)", or nothing.
pub fn did_you_mean<'a>(typed: &str, there: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, there).map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_beginnings_are_recognised() {
        let there = [
            "model",
            "models_tested",
            "prompt_type",
            "Qwen-72b",
            "qwen-7b-chat",
            "x",
            "meta.prompt",
        ];
        for (typed, expected) in [
            ("modle", Some("model")),
            ("MODEL", Some("model")),
            ("prompt", Some("meta.prompt")),
            ("prompt_", Some("prompt_type")),
            ("prmpt_typ", Some("prompt_type")),
            ("qwen-72", Some("Qwen-72b")),
            ("qwen", None),
            ("y", None),
            ("", None),
            ("something else", None),
        ] {
            assert_eq!(nearest(typed, there), expected, "{typed}");
        }
        assert_eq!(did_you_mean("modle", there), " (did you mean 'model'?)");
    }
}
