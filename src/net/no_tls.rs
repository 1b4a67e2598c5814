//! In place of `tls` where the feature `tls` is left out: there is no certificate, so no socket ever speaks TLS.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{ByteStream, Stream, Unusable};

/// What is never made.
pub(crate) struct Identity;

impl Identity {
    pub(crate) fn from_pem(_chain: &str, _key: &str) -> Result<Self, Unusable> {
        Err(Unusable::Certificate("the Cargo feature 'tls' was left out".into()))
    }
}

/// What never meets a client.
#[derive(Debug, Clone)]
pub(crate) struct Acceptor;

impl Acceptor {
    pub(crate) fn new(_identity: Identity) -> Self {
        Self
    }

    pub(crate) fn exchange(&self, _identity: Identity) {}

    pub(super) fn accept(&self, _socket: OwnedFd) -> io::Result<Stream> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// What there is none of.
#[derive(Debug)]
pub(crate) enum Tls {}

impl AsFd for Tls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl ByteStream for Tls {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match *self {}
    }
}
