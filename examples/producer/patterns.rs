//! Finds the files that arguments and glob patterns name, and gives each to one of the threads. Reads no
//! file.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zmq2ws_examples::text;

use crate::claims::{Claims, Identity, Known};
use crate::follower::Start;
use crate::glob::Glob;
use crate::room::Room;

/// Where a topic comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TopicFrom {
    /// HOST/FILENAME
    Name,
    /// HOST and the whole path: HOST/var/log/app.log
    Path,
}

/// A file to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) path: PathBuf,
    pub(crate) topic: Vec<u8>,
    /// It was found by a pattern: once it is gone, the producer does not wait for it.
    pub(crate) is_found: bool,
    /// Where to go on in a file that was followed under another name, and closed.
    pub(crate) resume: Option<Start>,
}

/// All that is followed, and which thread does.
pub(crate) struct Patterns {
    literal: Vec<PathBuf>,
    globs: Vec<Glob>,
    claims: Arc<Claims>,
    host: String,
    topic_from: TopicFrom,
    threads: usize,
    room: Room,
    assigned: HashMap<PathBuf, usize>,
    /// How many files each thread has.
    loads: Vec<usize>,
    topics: HashMap<Vec<u8>, PathBuf>,
    is_full_told: bool,
}

/// What a look at the folders brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// With the number of the thread that is to follow it.
    pub(crate) assignments: Vec<(usize, Assignment)>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

impl Patterns {
    /// An argument is a pattern if it has one of `*?[` and no file has that very name.
    ///
    /// # Errors
    ///
    /// A pattern that cannot be one.
    pub(crate) fn new(
        arguments: &[PathBuf],
        claims: Arc<Claims>,
        (host, topic_from): (String, TopicFrom),
        threads: usize,
        room: Room,
    ) -> Result<Self, String> {
        let mut patterns = Self {
            literal: Vec::new(),
            globs: Vec::new(),
            claims,
            host,
            topic_from,
            threads,
            room,
            assigned: HashMap::new(),
            loads: vec![0; threads],
            topics: HashMap::new(),
            is_full_told: false,
        };
        for argument in arguments {
            let text = argument.as_os_str();
            if !Glob::is_pattern(text) || argument.symlink_metadata().is_ok() {
                patterns.literal.push(argument.clone());
                continue;
            }
            let explain = |reason| format!("{}: {reason}", shown(argument));
            patterns.globs.push(Glob::parse(text).map_err(explain)?);
        }
        Ok(patterns)
    }

    /// Whether files may come later.
    pub(crate) fn has_globs(&self) -> bool {
        !self.globs.is_empty()
    }

    /// Files that are not followed yet. A file that is followed under another name was only renamed, so it
    /// is left out. A file that was followed earlier is left out until it grows.
    pub(crate) fn look(&mut self, is_over: impl Fn() -> bool) -> Found {
        let mut found = Found::default();
        // What has a name: none but the first of its names is looked at.
        let mut present = HashSet::new();
        for path in std::mem::take(&mut self.literal) {
            // Also where it does not exist yet.
            if !self.assigned.contains_key(&path) {
                present.extend(fs::metadata(&path).ok().map(|data| Identity::of(&data)));
                self.assign(path, false, None, &mut found);
            }
        }
        for path in self.unassigned(is_over) {
            let Ok(data) = fs::metadata(&path) else { continue };
            let identity = Identity::of(&data);
            if !data.is_file() || !present.insert(identity) {
                continue;
            }
            let resume = match self.claims.known(identity) {
                Some(Known::Open) => continue,
                Some(Known::ReadTo(offset)) if offset == data.len() => continue,
                // Where it has become shorter, it is read from its beginning.
                Some(Known::ReadTo(offset)) => Some(Start::At(identity, offset)),
                None => None,
            };
            self.assign(path, true, resume, &mut found);
        }
        self.claims.forget_all_but(&present);
        found
    }

    /// The file that was found at `path` is gone; another one there will be new.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some(thread) = self.assigned.remove(path) {
            self.loads[thread] -= 1;
            let topic = self.topic(path);
            if self.topics.get(&topic).is_some_and(|first| first == path) {
                self.topics.remove(&topic);
            }
        }
    }

    /// What the patterns match, in the order of names.
    fn unassigned(&self, is_over: impl Fn() -> bool) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for glob in &self.globs {
            glob.each(&is_over, &mut |path| {
                if !self.assigned.contains_key(&path) {
                    paths.insert(path);
                }
            });
        }
        paths
    }

    fn assign(&mut self, path: PathBuf, is_found: bool, resume: Option<Start>, found: &mut Found) {
        if self.assigned.len() >= self.room.files_max {
            if !std::mem::replace(&mut self.is_full_told, true) {
                found.notes.push(self.room.note());
            }
            return;
        }
        let topic = self.topic(&path);
        match self.topics.get(&topic) {
            None => drop(self.topics.insert(topic.clone(), path.clone())),
            Some(first) => found.notes.push(format!(
                "{} and {} have the same topic; --topic-from path tells them apart",
                shown(first),
                shown(&path)
            )),
        }
        let thread = (0..self.threads).min_by_key(|&thread| self.loads[thread]).unwrap_or(0);
        self.loads[thread] += 1;
        self.assigned.insert(path.clone(), thread);
        found.assignments.push((thread, Assignment { path, topic, is_found, resume }));
    }

    fn topic(&self, path: &Path) -> Vec<u8> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = match self.topic_from {
            TopicFrom::Name => absolute.file_name().unwrap_or(absolute.as_os_str()).as_bytes(),
            TopicFrom::Path => absolute.as_os_str().as_bytes(),
        };
        let name = name.strip_prefix(b"/").unwrap_or(name);
        [self.host.as_bytes(), name].join(&b'/')
    }
}

fn shown(path: &Path) -> String {
    text::shown(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests;
