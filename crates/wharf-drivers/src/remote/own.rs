//! The services that are not asked by OpenDAL but by ourselves.

use std::time::Duration;

use super::Result;
use super::engine::within;
use super::failure::Failure;
use super::ftp::Ftp;
use super::meta::{Found, Meta};
use super::outgoing::Outgoing;
use super::sftp::Sftp;

/// A service that is asked by ourselves.
pub(super) enum Own {
    Ftp(Ftp),
    Sftp(Sftp),
}

impl Own {
    /// Bytes that one request should ask for, at most.
    pub(super) fn range_bytes_max(&self) -> u64 {
        match self {
            // Each part of a file costs several round trips.
            Own::Ftp(_) => 8 << 20,
            // As much as is under way on one connection.
            Own::Sftp(_) => 2 << 20,
        }
    }

    pub(super) async fn check(&self) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.check().await,
            Own::Sftp(sftp) => sftp.check().await,
        }
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Meta, Failure> {
        match self {
            Own::Ftp(ftp) => ftp.stat(path).await,
            Own::Sftp(sftp) => sftp.stat(path).await,
        }
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<Found>, Failure> {
        match self {
            Own::Ftp(ftp) => ftp.list(path).await,
            Own::Sftp(sftp) => sftp.list(path).await,
        }
    }

    pub(super) async fn make_directory(&self, path: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.make_directory(path).await,
            Own::Sftp(sftp) => sftp.make_directory(path).await,
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.remove(path).await,
            Own::Sftp(sftp) => sftp.remove(path).await,
        }
    }

    /// Removes a directory that is empty, and no other.
    pub(super) async fn remove_directory(&self, path: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.remove_directory(path).await,
            Own::Sftp(sftp) => sftp.remove_directory(path).await,
        }
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => ftp.rename(from, to).await,
            Own::Sftp(sftp) => sftp.rename(from, to).await,
        }
    }

    /// Uploads a file beside its place, and moves it there. Each step has the deadline.
    pub(super) async fn upload(
        &self,
        path: &str,
        file: &Outgoing,
        deadline: Duration,
    ) -> Result<(), Failure> {
        match self {
            Own::Ftp(ftp) => {
                // A stream without steps: the deadline grows with its length.
                let patience = deadline + Duration::from_secs(file.size >> 16);
                let upload = async { Ok(ftp.upload(path, file).await) };
                within(patience, "uploading a file", upload).await.map_err(Failure::of)?
            }
            Own::Sftp(sftp) => sftp.upload(path, file).await,
        }
    }
}
