//! What was probably meant by a name that there is not.

/// The name that was probably meant: few letters away, or the only one that goes on as
/// `typed` does. Upper and lower case are the same letter.
pub fn nearest<'a>(typed: &str, there: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let letters = typed.chars().count();
    let mut near: Option<(usize, &str)> = None;
    let mut longer = Vec::new();
    for name in there {
        let lower = name.to_lowercase();
        let distance = distance(&typed, &lower);
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

/// The end of a sentence that says that there is no such name: "(did you mean 'x'?)", or nothing.
pub fn did_you_mean<'a>(typed: &str, there: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, there).map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

/// Letters to add, take away, change or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&row, j) + usize::from(x != y))
                .min(at(&row, j + 1) + 1)
                .min(at(&next, j) + 1);
            let swapped = j > 0 && i > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
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
        ];
        for (typed, expected) in [
            ("modle", Some("model")),
            ("MODEL", Some("model")),
            ("prompt", Some("prompt_type")),
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
