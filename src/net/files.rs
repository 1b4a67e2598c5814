//! The files of `--www DIR`, read when they are asked for and kept as long as they do not change.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use crate::http::assets::Asset;
use crate::memory::Memory;

/// The largest file that is served. A page needs less; what is larger belongs on a file server.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Bytes of files that are kept.
const CACHE_BYTES_MAX: usize = 64 << 20;

/// A folder of static files.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Canonical, so that what a link leads to can be told to be inside.
    root: PathBuf,
    cache: HashMap<PathBuf, Kept>,
    cache_bytes: usize,
    memory: Memory,
}

#[derive(Debug)]
struct Kept {
    modified: Option<SystemTime>,
    asset: Rc<Asset>,
}

impl Directory {
    /// # Errors
    ///
    /// When `path` is not a folder that can be read.
    pub(crate) fn open(path: &Path, memory: &Memory) -> std::io::Result<Self> {
        let root = path.canonicalize()?;
        fs::read_dir(&root)?;
        Ok(Self { root, cache: HashMap::new(), cache_bytes: 0, memory: memory.clone() })
    }

    /// The file at `relative`, a path without `..`; `None` when there is no readable file inside the folder.
    pub(crate) fn find(&mut self, relative: &str) -> Option<Rc<Asset>> {
        let mut path = self.root.join(relative).canonicalize().ok()?;
        let mut metadata = fs::metadata(&path).ok()?;
        if metadata.is_dir() {
            path = path.join("index.html").canonicalize().ok()?;
            metadata = fs::metadata(&path).ok()?;
        }
        // Not a fifo or a device either, which would block or never end.
        if !path.starts_with(&self.root) || !metadata.is_file() {
            return None;
        }
        self.read_through_cache(path, &metadata)
    }

    fn read_through_cache(&mut self, path: PathBuf, metadata: &Metadata) -> Option<Rc<Asset>> {
        let modified = metadata.modified().ok();
        if let Some(kept) = self.cache.get(&path) {
            if kept.modified == modified && kept.asset.bytes().len() as u64 == metadata.len() {
                return Some(Rc::clone(&kept.asset));
            }
            self.cache_bytes -= kept.asset.bytes().len();
            self.cache.remove(&path);
        }
        if metadata.len() > FILE_BYTES_MAX {
            log::warn!("{} is not served: larger than {FILE_BYTES_MAX} bytes", path.display());
            return None;
        }
        if self.memory.is_exceeded() {
            log::warn!("{} is not served: --max-memory is used up", path.display());
            return None;
        }
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        if self.cache_bytes + bytes.len() > CACHE_BYTES_MAX {
            self.cache.clear();
            self.cache_bytes = 0;
        }
        self.cache_bytes += bytes.len();
        // Counted as long as somebody downloads it, also when it is not kept here any more.
        let charge = self.memory.charge(bytes.capacity());
        let asset = Rc::new(Asset::from_file(&path.to_string_lossy(), bytes, Some(charge)));
        self.cache.insert(path, Kept { modified, asset: Rc::clone(&asset) });
        Some(asset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_inside_the_folder_are_found() {
        let base = std::env::temp_dir().join(format!("zmq2ws-files-{}", std::process::id()));
        let root = base.join("www");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        fs::write(root.join("index.html"), "first").unwrap();
        fs::write(root.join("sub/index.html"), "sub").unwrap();
        std::os::unix::fs::symlink(base.join("secret"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("index.html", root.join("alias.html")).unwrap();
        let mut directory = Directory::open(&root, &Memory::with_limit(1 << 20)).unwrap();
        let mut text = |path: &str| {
            directory.find(path).map(|asset| String::from_utf8(asset.bytes().to_vec()).unwrap())
        };
        assert_eq!(text("index.html").as_deref(), Some("first"));
        assert_eq!(text("").as_deref(), Some("first"));
        assert_eq!(text("sub").as_deref(), Some("sub"));
        assert_eq!(text("alias.html").as_deref(), Some("first"));
        for outside in ["../secret", "link", "missing", "/etc/passwd"] {
            assert_eq!(text(outside), None, "{outside}");
        }
        fs::write(root.join("index.html"), "longer second").unwrap();
        assert_eq!(text("index.html").as_deref(), Some("longer second"));
        fs::remove_dir_all(&base).unwrap();
    }
}
