//! Finds the paths that match a pattern as a shell does. Names are bytes: not every one is UTF-8. Opens no
//! file.

use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A byte that is part of no character counts as one beyond all of them.
const NO_CHARACTER: u32 = 0x11_0000;

/// `*` and `?` neither cross a `/` nor stand for a dot at the start of a name.
#[derive(Debug)]
pub(crate) struct Glob {
    root: PathBuf,
    parts: Vec<Part>,
}

/// What is between two slashes.
#[derive(Debug)]
enum Part {
    /// A name as it is.
    Name(OsString),
    /// One with `*`, `?` or `[`.
    Wild(Vec<Token>),
    /// `**`: any number of folders, none of them hidden, and none behind a symbolic link, which may lead in
    /// a circle.
    Anywhere,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// This character.
    One(u32),
    /// `?`
    Any,
    /// `*`
    Some,
    /// `[a-z]` or `[!a-z]`
    Set { is_negated: bool, ranges: Vec<RangeInclusive<u32>> },
}

impl Glob {
    /// Whether the text has something that stands for something else.
    pub(crate) fn is_pattern(text: &OsStr) -> bool {
        text.as_bytes().iter().any(|byte| b"*?[".contains(byte))
    }

    /// # Errors
    ///
    /// What is wrong with the pattern.
    pub(crate) fn parse(pattern: &OsStr) -> Result<Self, &'static str> {
        let bytes = pattern.as_bytes();
        if bytes.ends_with(b"/") {
            return Err("a pattern that ends with / finds no files");
        }
        let root = PathBuf::from(if bytes.starts_with(b"/") { "/" } else { "" });
        let mut parts = Vec::new();
        for name in bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let part = Part::parse(name)?;
            // Twice in a row, it would find everything as often as there are ways to share the folders out.
            if !matches!((parts.last(), &part), (Some(Part::Anywhere), Part::Anywhere)) {
                parts.push(part);
            }
        }
        Ok(Self { root, parts })
    }

    /// Calls `found` with each path that matches, in no order, until `is_over`. What cannot be read (a folder
    /// without the right to) is as if it were not there.
    pub(crate) fn each(&self, is_over: impl Fn() -> bool, found: &mut impl FnMut(PathBuf)) {
        let mut folders = vec![(self.root.clone(), &self.parts[..])];
        while let Some((folder, parts)) = folders.pop()
            && !is_over()
        {
            let Some((part, rest)) = parts.split_first() else { continue };
            if let Part::Name(name) = part {
                let path = folder.join(name);
                if rest.is_empty() {
                    found(path);
                } else {
                    folders.push((path, rest));
                }
                continue;
            }
            if matches!(part, Part::Anywhere) {
                folders.push((folder.clone(), rest));
            }
            for (name, kind) in entries(&folder) {
                let path = folder.join(&name);
                match part {
                    Part::Anywhere if name.as_bytes().starts_with(b".") => {}
                    Part::Anywhere if kind.is_dir() => folders.push((path, parts)),
                    Part::Anywhere if rest.is_empty() => found(path),
                    Part::Wild(tokens) if !matches(tokens, &characters(name.as_bytes())) => {}
                    Part::Wild(_) if rest.is_empty() => found(path),
                    Part::Wild(_) if kind.is_dir() || kind.is_symlink() => {
                        folders.push((path, rest));
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Part {
    fn parse(name: &[u8]) -> Result<Self, &'static str> {
        if name == b"**" {
            return Ok(Self::Anywhere);
        }
        if name.windows(2).any(|pair| pair == b"**") {
            return Err("** stands for folders, and alone between two slashes");
        }
        if !Glob::is_pattern(OsStr::from_bytes(name)) {
            return Ok(Self::Name(OsStr::from_bytes(name).to_owned()));
        }
        let mut tokens = Vec::new();
        let characters = characters(name);
        let mut rest = &characters[..];
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            tokens.push(match char::from_u32(first) {
                Some('*') => Token::Some,
                Some('?') => Token::Any,
                Some('[') => set(&mut rest).ok_or("[ without its ], or with a range backwards")?,
                _ => Token::One(first),
            });
        }
        Ok(Self::Wild(tokens))
    }
}

/// What follows a `[`, up to its `]`; one that comes first is a member.
fn set(rest: &mut &[u32]) -> Option<Token> {
    let is = |at: Option<&u32>, c: char| at == Some(&u32::from(c));
    let is_negated = is(rest.first(), '!') || is(rest.first(), '^');
    let mut at = usize::from(is_negated);
    let mut ranges = Vec::new();
    while ranges.is_empty() || !is(rest.get(at), ']') {
        let first = *rest.get(at)?;
        let is_range = is(rest.get(at + 1), '-') && !is(rest.get(at + 2), ']');
        let last = if is_range { *rest.get(at + 2)? } else { first };
        if last < first {
            return None;
        }
        ranges.push(first..=last);
        at += if is_range { 3 } else { 1 };
    }
    *rest = &rest[at + 1..];
    Some(Token::Set { is_negated, ranges })
}

/// Takes at most as many steps as the product of both lengths.
fn matches(tokens: &[Token], name: &[u32]) -> bool {
    let dot = u32::from('.');
    if name.first() == Some(&dot) && tokens.first() != Some(&Token::One(dot)) {
        return false;
    }
    let (mut token, mut at) = (0, 0);
    // The last `*`, and up to where it is taken to stand for something.
    let mut star = None;
    loop {
        match (tokens.get(token), name.get(at)) {
            (None, None) => return true,
            (Some(Token::Some), _) => {
                star = Some((token, at));
                token += 1;
            }
            (Some(one), Some(&character)) if one.is(character) => {
                token += 1;
                at += 1;
            }
            _ => match star {
                Some((its_token, its_end)) if its_end < name.len() => {
                    star = Some((its_token, its_end + 1));
                    (token, at) = (its_token + 1, its_end + 1);
                }
                _ => return false,
            },
        }
    }
}

impl Token {
    fn is(&self, character: u32) -> bool {
        match self {
            Self::One(one) => *one == character,
            Self::Any | Self::Some => true,
            Self::Set { is_negated, ranges } => {
                ranges.iter().any(|range| range.contains(&character)) != *is_negated
            }
        }
    }
}

fn characters(bytes: &[u8]) -> Vec<u32> {
    let mut characters = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        characters.extend(chunk.valid().chars().map(u32::from));
        characters.extend(chunk.invalid().iter().map(|&byte| NO_CHARACTER + u32::from(byte)));
    }
    characters
}

fn entries(folder: &Path) -> impl Iterator<Item = (OsString, FileType)> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name(), entry.file_type().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &[u8]) -> bool {
        match Part::parse(pattern.as_bytes()).unwrap() {
            Part::Wild(tokens) => matches(&tokens, &characters(name)),
            part => panic!("{pattern}: {part:?}"),
        }
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, yes, no) in [
            ("*", &[&b"a"[..], b"a.b", b"\xff"][..], &[&b".a"[..]][..]),
            ("*.log", &[b"a.log", b"a.log.log", b"\xff.log"], &[b"a.logs", b".log", b"log"]),
            ("a*b*c", &[b"abc", b"aXbXbXc"], &[b"ab", b"abcd", b"xabc"]),
            ("?.log", &[b"a.log", "ü.log".as_bytes(), b"\xff.log"], &[b"ab.log", b"..log"]),
            ("[a-c].log", &[b"a.log", b"c.log"], &[b"d.log", b"-.log"]),
            ("[!a-c]", &[b"d", "ü".as_bytes()], &[b"a", b".", b"de"]),
            ("[]x-]", &[b"]", b"x", b"-"], &[b"[", b"y"]),
            ("[é-ü]", &["ö".as_bytes()], &[b"o", b"\xc3"]),
            (".*", &[b".a", b"."], &[b"a"]),
        ] {
            for name in yes {
                assert!(is_match(pattern, name), "{pattern} {}", String::from_utf8_lossy(name));
            }
            for name in no {
                assert!(!is_match(pattern, name), "{pattern} {}", String::from_utf8_lossy(name));
            }
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_their_number_times_the_name() {
        assert!(!is_match(&"*a".repeat(120), "a".repeat(119).as_bytes()));
        assert!(is_match(&"*a".repeat(120), "a".repeat(120).as_bytes()));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["a/***", "a/**b", "[", "[]", "[!", "[a", "[z-a]", "[a-", "*/"] {
            assert!(Glob::parse(OsStr::new(pattern)).is_err(), "{pattern}");
        }
    }
}
