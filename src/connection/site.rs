//! What is served beside messages: the page and the browsers' client, and at which paths. Knows no connection.

use std::rc::Rc;
use std::time::Instant;

use crate::access::OriginPolicy;
use crate::http::assets::{Asset, BuiltIn};
use crate::net::{Directory, NoRoom};

/// Where the page comes from.
#[derive(Debug)]
pub(crate) enum Pages {
    BuiltIn(BuiltIn),
    Directory(Directory),
    None,
}

/// The files, and the rules that hold for every path.
pub(crate) struct Site {
    pub(crate) pages: Pages,
    /// The browsers' client, which is served beside any page.
    pub(crate) client: BuiltIn,
    /// What every path begins with.
    pub(crate) path_prefix: Box<[u8]>,
    pub(crate) origin: OriginPolicy,
    /// Whether some source has ended for good: the gateway is not ready any more.
    pub(crate) has_lost_source: bool,
    /// When the gateway began; the first request for `/status` where that is not known.
    pub(crate) started: Option<Instant>,
}

impl Site {
    /// The file at `path`. Fails while too many are being downloaded.
    pub(super) fn find(&mut self, path: &str) -> Result<Option<Rc<Asset>>, NoRoom> {
        let asset = match &mut self.pages {
            Pages::BuiltIn(page) => page.find(path),
            Pages::Directory(directory) => directory.find(path)?,
            Pages::None => None,
        };
        // A folder may hold the client in another version.
        Ok(asset.or_else(|| self.client.find(path)))
    }
}
