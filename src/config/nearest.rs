//! Proposes the setting that a mistyped name meant.

use crate::config::settings::Setting;

/// The words `; did you mean …?` for a name that no setting has, or none. `name_of` is how its user calls a setting.
pub(super) fn proposal(typed: &str, name_of: impl Fn(&Setting) -> String) -> String {
    let names: Vec<_> = Setting::all().map(name_of).collect();
    let hint = nearest(typed, names.iter().map(String::as_str));
    hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
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
