//! In place of `engine_io` where the feature `socket-io` is left out: no path leads to it, so no request asks for it.

use super::Wanted;

/// What there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineIo {}

impl EngineIo {
    pub(super) fn opened(&mut self) -> Option<&mut Wanted> {
        match *self {}
    }

    pub(super) fn is_upgrade(&self) -> bool {
        match *self {}
    }
}

/// What there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {}

impl ErrorCode {
    pub(super) fn to_json(self, _reason: &'static str) -> String {
        match self {}
    }
}
