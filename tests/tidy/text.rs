//! Rust as text: words, items, and what is neither comment nor string. Knows no rule.

/// Whether `line` has `word`, and not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let starts = !(is_part(word.chars().next()) && is_part(before.chars().next_back()));
        let ends = !(is_part(word.chars().next_back()) && is_part(after.chars().next()));
        starts && ends
    })
}

/// The length of the item at the start of `code`: up to its closing brace, or its semicolon.
pub(crate) fn item_len(code: &str) -> usize {
    let mut depth = 0_usize;
    let mut nesting = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting = nesting.saturating_sub(1),
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 && nesting == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// `text` with blanks for everything but its line ends.
fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut shipped = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let end = at + MARK.len() + item_len(&rest[at + MARK.len()..]);
        shipped += &rest[..at];
        shipped += &blank(&rest[at..end]);
        rest = &rest[end..];
    }
    shipped + rest
}

/// Also without the contents of characters; lifetimes stay.
pub(crate) fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let len = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => string_len(rest),
            'r' | 'b' | 'c' if !is_in_word => raw_string_len(rest),
            '\'' => char_len(rest),
            _ => 0,
        };
        let step = if len > 0 { len } else { c.len_utf8() };
        code += &if len > 0 { blank(&rest[..step]) } else { rest[..step].to_owned() };
        rest = &rest[step..];
    }
    code
}

fn string_len(text: &str) -> usize {
    let mut is_escaped = true; // the quote that opens it
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `br#"…"#` and their like; 0 for anything else.
fn raw_string_len(text: &str) -> usize {
    let start = text.trim_start_matches(['b', 'c']);
    let Some(after) = start.strip_prefix('r') else { return 0 };
    let body = after.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(after.len() - body.len()));
    let Some(content) = body.strip_prefix('"') else { return 0 };
    let tail = content.find(&end).map_or("", |at| &content[at + end.len()..]);
    text.len() - tail.len()
}

/// The length of `'x'` or `'\n'`; 0 for a lifetime.
fn char_len(text: &str) -> usize {
    let inside = &text[1..];
    match inside.chars().next() {
        Some('\\') => inside[2..].find('\'').map_or(0, |at| at + 4),
        Some(c) if inside[c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
        _ => 0,
    }
}
