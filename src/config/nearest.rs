//! Proposes the setting that a mistyped name meant.

use crate::config::settings::Setting;

/// Words of other programs, and the key of the setting that does it here.
const SYNONYMS: [(&str, &str); 28] = [
    ("address", "listen"),
    ("allow-origin", "origin"),
    ("cert", "tls-cert"),
    ("certificate", "tls-cert"),
    ("conf", "config"),
    ("cors", "origin"),
    ("debug", "log"),
    ("deflate", "compress"),
    ("directory", "www"),
    ("endpoint", "connect"),
    ("filter", "subscribe"),
    ("gzip", "compress"),
    ("host", "listen"),
    ("http", "listen"),
    ("hwm", "rcvhwm"),
    ("key", "tls-key"),
    ("log-level", "log"),
    ("max-connections", "max-clients"),
    ("memory", "max-memory"),
    ("port", "listen"),
    ("prefix", "subscribe"),
    ("pub", "connect"),
    ("publisher", "connect"),
    ("static", "www"),
    ("topic", "subscribe"),
    ("upstream", "connect"),
    ("verbose", "log"),
    ("ws", "listen"),
];

/// The words `; did you mean …?` for a name that no setting has, or none. `typed` is a flag, a variable or a key, and
/// `name_of` is how its user calls a setting.
pub(super) fn proposal(typed: &str, name_of: impl Fn(&Setting) -> String) -> String {
    let lower = typed.to_ascii_lowercase().replace('_', "-");
    let word = lower.trim_start_matches('-').trim_start_matches("zmq2ws").trim_start_matches('-');
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == word).map(|(_, key)| *key);
    let keys: Vec<_> = Setting::all().map(Setting::key).collect();
    let key = synonym.or_else(|| nearest(word, keys.iter().map(String::as_str)));
    let setting = Setting::all().find(|setting| Some(&*setting.key()) == key);
    setting.map(|it| format!("; did you mean {}?", name_of(it))).unwrap_or_default()
}

/// The candidate that `typed` most likely meant, if one is near.
fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer than any name; what is longer than this is no slip of the finger.
    const TYPED_CHARS_MAX: usize = 40;
    let typed: Vec<char> = typed.chars().take(TYPED_CHARS_MAX + 1).collect();
    if typed.len() > TYPED_CHARS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&typed, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, removals and replacements turn `from` into `to` (Levenshtein).
fn edit_distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (line, wanted) in to.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, typed) in from.iter().enumerate() {
            let replaced = diagonal + usize::from(*typed != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_lead_to_the_setting() {
        for (_, key) in SYNONYMS {
            assert!(Setting::all().any(|setting| setting.key() == key), "{key}");
        }
        for (typed, proposed) in [
            ("--port", "; did you mean listen?"),
            ("ZMQ2WS_PORT", "; did you mean listen?"),
            ("topic", "; did you mean subscribe?"),
            ("--maxlag", "; did you mean max-lag?"),
            ("ZMQ2WS_SERVICE_HOST", ""),
        ] {
            assert_eq!(proposal(typed, Setting::key), proposed, "{typed}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let names = ["max-lag", "max-memory", "listen", "log"];
        assert_eq!(nearest("max-lagg", names), Some("max-lag"));
        assert_eq!(nearest("max_memory", names), Some("max-memory"));
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("tls-cert", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"l".repeat(1 << 20), names), None);
    }
}
