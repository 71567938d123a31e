//! What went wrong, from what runners write into `error_type` and `error_message`.

use crate::stats::ErrorCategory;

/// The category of a test without full success; `None` where nothing is recorded.
/// The exact names win, then words that runners commonly use; a rate limit,
/// a refused login or a lost connection is the infrastructure's fault.
pub fn category(error_type: Option<&str>, error_message: Option<&str>) -> Option<ErrorCategory> {
    let kind = error_type
        .map(str::trim)
        .filter(|t| !matches!(*t, "" | "nan" | "None" | "none"));
    let message = error_message.filter(|m| !matches!(m.trim(), "" | "nan" | "None"));
    if let Some(exact) = kind.and_then(|kind| kind.parse().ok()) {
        return match exact {
            ErrorCategory::Other => message.and_then(infrastructure).or(Some(exact)),
            exact => Some(exact),
        };
    }
    let Some(kind) = kind else {
        return message
            .and_then(infrastructure)
            .or(message.map(|_| ErrorCategory::Other));
    };
    let found = infrastructure(kind)
        .or_else(|| words(kind))
        .or_else(|| message.and_then(infrastructure));
    Some(found.unwrap_or(ErrorCategory::Other))
}

fn infrastructure(text: &str) -> Option<ErrorCategory> {
    const SIGNS: [&str; 18] = [
        "infra",
        "rate limit",
        "rate_limit",
        "ratelimit",
        "too many requests",
        "unauthorized",
        "authentication",
        "auth_error",
        "permission denied",
        "api key",
        "api_key",
        "connection",
        "network",
        "service unavailable",
        "bad gateway",
        "overloaded",
        "quota",
        "gateway timeout",
    ];
    let lower = text.to_lowercase();
    let status = lower.split(|c: char| !c.is_ascii_digit()).any(|n| {
        matches!(
            n,
            "401" | "403" | "429" | "500" | "502" | "503" | "504" | "529"
        )
    });
    let named = SIGNS.iter().any(|sign| lower.contains(sign)) || matches!(lower.as_str(), "auth");
    (named || (status && (lower.contains("http") || lower.contains("error") || lower.len() == 3)))
        .then_some(ErrorCategory::Infrastructure)
}

fn words(kind: &str) -> Option<ErrorCategory> {
    let lower = kind.to_lowercase();
    let has = |word: &str| lower.contains(word);
    let category = match () {
        () if has("max_turn") || has("max turn") || has("turn limit") => ErrorCategory::MaxTurns,
        () if has("timeout") || has("timed out") => ErrorCategory::Timeout,
        () if has("format") || has("parse") => ErrorCategory::ToolCallFormat,
        () if has("selection") => ErrorCategory::ToolSelection,
        () if has("param") => ErrorCategory::ParameterConfig,
        () if has("sequence") || has("order") => ErrorCategory::SequenceOrder,
        () if has("depend") => ErrorCategory::Dependency,
        () => return None,
    };
    Some(category)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_runners_write() {
        use ErrorCategory as E;
        for (kind, message, expected) in [
            (None, None, None),
            (Some("None"), Some("nan"), None),
            (Some("timeout"), None, Some(E::Timeout)),
            (Some("TimeoutError"), None, Some(E::Timeout)),
            (
                Some("tool_call_format_errors"),
                None,
                Some(E::ToolCallFormat),
            ),
            (Some("sequence_order"), None, Some(E::SequenceOrder)),
            (
                Some("max_turns"),
                Some("connection words"),
                Some(E::MaxTurns),
            ),
            (
                Some("other"),
                Some("HTTP 429: slow down"),
                Some(E::Infrastructure),
            ),
            (Some("RateLimitError"), None, Some(E::Infrastructure)),
            (Some("429"), None, Some(E::Infrastructure)),
            (Some("weird"), Some("step 429 was wrong"), Some(E::Other)),
            (None, Some("Error 503"), Some(E::Infrastructure)),
            (None, Some("it went wrong"), Some(E::Other)),
        ] {
            assert_eq!(category(kind, message), expected, "{kind:?} {message:?}");
        }
    }
}
