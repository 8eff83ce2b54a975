//! The services that are not asked by OpenDAL but by ourselves.

use std::time::Duration;

use super::Result;
use super::failure::Failure;
use super::ftp::Ftp;
use super::meta::{Found, Meta};
use super::outgoing::Outgoing;

/// A service that is asked by ourselves.
pub(super) enum Own {
    Ftp(Ftp),
}

impl Own {
    /// Bytes that one request should ask for, at most.
    pub(super) fn range_bytes_max(&self) -> u64 {
        match self {
            // It logs in anew for each part of a file.
            Own::Ftp(_) => 8 << 20,
        }
    }

    pub(super) async fn check(&self) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.check().await,
        }
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Meta, Failure> {
        match self {
            Own::Ftp(ftp) => ftp.stat(path).await,
        }
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<Found>, Failure> {
        match self {
            Own::Ftp(ftp) => ftp.list(path).await,
        }
    }

    pub(super) async fn make_directory(&self, path: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.make_directory(path).await,
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.remove(path).await,
        }
    }

    /// Removes a directory that is empty, and no other.
    pub(super) async fn remove_directory(&self, path: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.remove_directory(path).await,
        }
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.rename(from, to).await,
        }
    }

    /// Uploads a file beside its place, and moves it there.
    pub(super) async fn upload(&self, path: &str, file: &Outgoing) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.upload(path, file).await,
        }
    }

    /// How long an upload may take: it is one long step.
    pub(super) fn upload_patience(deadline: Duration, size: u64) -> Duration {
        deadline + Duration::from_secs(size >> 16)
    }
}
