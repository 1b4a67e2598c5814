//! The files of `--www DIR`, read when they are asked for and kept as long as they do not change.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use crate::http::assets::Asset;

/// The largest file that is served. A page needs less; what is larger belongs on a file server.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A folder of static files.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Canonical, so that what a link leads to can be told to be inside.
    root: PathBuf,
    cache: HashMap<PathBuf, Kept>,
    cache_bytes: usize,
    cache_bytes_max: usize,
}

#[derive(Debug)]
struct Kept {
    modified: Option<SystemTime>,
    asset: Rc<Asset>,
}

/// So much is being downloaded that nothing else can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Directory {
    /// The files of the folder at `path`, of which at most `cache_bytes_max` are in memory at a time.
    ///
    /// # Errors
    ///
    /// When `path` is not a folder that can be read.
    pub(crate) fn open(path: &Path, cache_bytes_max: usize) -> std::io::Result<Self> {
        let root = path.canonicalize()?;
        fs::read_dir(&root)?;
        Ok(Self { root, cache: HashMap::new(), cache_bytes: 0, cache_bytes_max })
    }

    /// The file at `relative`, a path without `..`; `None` when there is no readable file inside the folder.
    pub(crate) fn find(&mut self, relative: &str) -> Result<Option<Rc<Asset>>, NoRoom> {
        match self.locate(relative) {
            Some((path, metadata)) => self.read_through_cache(path, &metadata),
            None => Ok(None),
        }
    }

    fn locate(&self, relative: &str) -> Option<(PathBuf, Metadata)> {
        let mut path = self.root.join(relative).canonicalize().ok()?;
        let mut metadata = fs::metadata(&path).ok()?;
        if metadata.is_dir() {
            path = path.join("index.html").canonicalize().ok()?;
            metadata = fs::metadata(&path).ok()?;
        }
        // Not a fifo or a device either, which would block or never end.
        let is_served = path.starts_with(&self.root) && metadata.is_file();
        if is_served && metadata.len() > FILE_BYTES_MAX {
            log::warn!("{} is not served: larger than {FILE_BYTES_MAX} bytes", path.display());
            return None;
        }
        is_served.then_some((path, metadata))
    }

    fn read_through_cache(
        &mut self,
        path: PathBuf,
        metadata: &Metadata,
    ) -> Result<Option<Rc<Asset>>, NoRoom> {
        let modified = metadata.modified().ok();
        if let Some(kept) = self.cache.get(&path) {
            let is_current =
                kept.modified == modified && kept.asset.bytes().len() as u64 == metadata.len();
            // Who downloads the old one gets all of it, and the new one is read when that is over.
            if is_current || Rc::strong_count(&kept.asset) > 1 {
                return Ok(Some(Rc::clone(&kept.asset)));
            }
        }
        self.make_room(metadata.len() as usize, &path)?;
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        let read =
            File::open(&path).and_then(|file| file.take(metadata.len()).read_to_end(&mut bytes));
        if let Err(error) = read {
            log::warn!("{} cannot be read: {error}", path.display());
            return Ok(None);
        }
        self.cache_bytes += bytes.len();
        let asset = Rc::new(Asset::from_file(&path.to_string_lossy(), bytes));
        self.cache.insert(path, Kept { modified, asset: Rc::clone(&asset) });
        Ok(Some(asset))
    }

    /// Forgets the last version of `path`, and files that nobody is downloading where room is short.
    fn make_room(&mut self, bytes: usize, path: &Path) -> Result<(), NoRoom> {
        if let Some(kept) = self.cache.remove(path) {
            self.cache_bytes -= kept.asset.bytes().len();
        }
        if self.cache_bytes + bytes > self.cache_bytes_max {
            self.cache.retain(|_, kept| Rc::strong_count(&kept.asset) > 1);
            self.cache_bytes = self.cache.values().map(|kept| kept.asset.bytes().len()).sum();
        }
        if self.cache_bytes + bytes <= self.cache_bytes_max { Ok(()) } else { Err(NoRoom) }
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
        let mut directory = Directory::open(&root, 1 << 20).unwrap();
        let mut text = |path: &str| {
            let asset = directory.find(path).unwrap();
            asset.map(|asset| String::from_utf8(asset.bytes().to_vec()).unwrap())
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

    #[test]
    fn what_is_being_downloaded_is_bounded_and_what_is_not_makes_room() {
        let root = std::env::temp_dir().join(format!("zmq2ws-room-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), [b'x'; 400]).unwrap();
        }
        let mut directory = Directory::open(&root, 1_000).unwrap();
        let a = directory.find("a").unwrap().unwrap();
        assert!(directory.find("b").unwrap().is_some());
        let c = directory.find("c").unwrap();
        assert!(c.is_some(), "nobody downloads b, so it makes room");
        assert_eq!(directory.find("b").unwrap_err(), NoRoom);
        drop(a);
        assert!(directory.find("b").unwrap().is_some());
        fs::remove_dir_all(&root).unwrap();
    }
}
