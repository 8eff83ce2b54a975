//! Limits, times and places of a remote volume.

use std::path::PathBuf;
use std::time::Duration;

use super::units::{bytes, duration};

/// Limits, times and places of a remote volume. Each says how it is [set](Options::set) by words.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// `deadline=30s`: how long one operation of the service may take, attempts and waiting for a connection
    /// included. Of an upload: how long it may make no progress.
    pub deadline: Duration,
    /// `lifetime=5s`: how long what was learnt of names, sizes and versions is believed; 0: asked every
    /// time.
    pub lifetime: Duration,
    /// `connections=16`: operations that are on their way to the service at once.
    pub connections_max: u32,
    /// `cache=256M`: bytes of contents that are kept in memory.
    pub cache_bytes_max: u64,
    /// `disc-cache=0`: bytes of contents that are kept on disc as well, from one mount to the next; 0: none.
    pub disc_cache_bytes_max: u64,
    /// `cache-dir=DIR`: where they are kept. By default below `$XDG_CACHE_HOME` or `~/.cache`.
    pub cache_dir: Option<PathBuf>,
    /// `credentials=FILE`: user, password and the like, one `name=value` a line.
    pub credentials: Option<PathBuf>,
    /// `identity=FILE`: the private key for `sftp:`. By default those that ssh's configuration and agent have.
    pub identity: Option<PathBuf>,
    /// `ssh-config=FILE`: a configuration of ssh for `sftp:`. By default the user's.
    pub ssh_config: Option<PathBuf>,
    /// `spool=DIR`: where files are that are being changed, and what could not be uploaded. By default below
    /// `$XDG_CACHE_HOME` or `~/.cache`.
    pub spool: Option<PathBuf>,
    /// `endpoint=URL`: the service behind `s3:`, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// `region=NAME`: of the bucket of `s3:`.
    pub region: Option<String>,
    /// `anonymous=yes`: `s3:` without credentials, for buckets that are open to everybody.
    pub anonymous: bool,
    /// Nothing may be changed.
    pub read_only: bool,
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            deadline: Duration::from_secs(30),
            lifetime: Duration::from_secs(5),
            connections_max: 16,
            cache_bytes_max: 256 << 20,
            disc_cache_bytes_max: 0,
            cache_dir: None,
            credentials: None,
            identity: None,
            ssh_config: None,
            spool: None,
            endpoint: None,
            region: None,
            anonymous: false,
            read_only: false,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }
    }
}

/// The names, for errors.
const NAMES: &str = "deadline, lifetime, connections, cache, disc-cache, cache-dir, credentials, identity, \
     ssh-config, spool, endpoint, region and anonymous";
/// Less would be a few blocks.
const DISC_CACHE_BYTES_MIN: u64 = 16 << 20;

impl Options {
    /// Sets one by words, as in `deadline` and `30s`.
    ///
    /// # Errors
    /// A sentence with the way out.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let time = || {
            duration(value)
                .ok_or_else(|| format!("remote: cannot wait `{value}`; write a time such as {name}=30s"))
        };
        let size = || {
            bytes(value)
                .ok_or_else(|| format!("remote: cannot read `{value}`; write bytes such as {name}=256M"))
        };
        let text = || match value {
            "" => Err(format!("remote: needs something behind {name}=, or leave it out")),
            value => Ok(value.to_owned()),
        };
        match name {
            "deadline" => self.deadline = time()?.max(Duration::from_millis(1)),
            "lifetime" => self.lifetime = time()?,
            "connections" => {
                let number = value.parse().ok().filter(|number| (1..=256).contains(number));
                self.connections_max = number
                    .ok_or_else(|| format!("remote: cannot have `{value}` connections; write 1 to 256"))?;
            }
            "cache" => self.cache_bytes_max = size()?,
            "disc-cache" => {
                self.disc_cache_bytes_max = size()?;
                if (1..DISC_CACHE_BYTES_MIN).contains(&self.disc_cache_bytes_max) {
                    return Err(format!(
                        "remote: needs more than disc-cache={value}; write 16M or more, or 0"
                    ));
                }
            }
            "cache-dir" => self.cache_dir = Some(text()?.into()),
            "credentials" => self.credentials = Some(text()?.into()),
            "identity" => self.identity = Some(text()?.into()),
            "ssh-config" => self.ssh_config = Some(text()?.into()),
            "spool" => self.spool = Some(text()?.into()),
            "endpoint" => self.endpoint = Some(text()?),
            "anonymous" => {
                self.anonymous = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err("remote: takes anonymous=yes or anonymous=no".into()),
                };
            }
            "region" => self.region = Some(text()?),
            _ => return Err(format!("remote: takes no `{name}`; it takes {NAMES}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_set_what_they_name_or_say_what_to_write_instead() {
        let mut options = Options::default();
        for (name, value) in
            [("deadline", "1500ms"), ("lifetime", "0"), ("cache", "1G"), ("connections", "3")]
        {
            options.set(name, value).unwrap();
        }
        assert_eq!((options.deadline, options.lifetime), (Duration::from_millis(1500), Duration::ZERO));
        assert_eq!((options.cache_bytes_max, options.connections_max), (1 << 30, 3));
        for (name, value, way_out) in [
            ("colour", "red", "it takes deadline"),
            ("deadline", "soon", "30s"),
            ("cache", "much", "256M"),
            ("connections", "0", "1 to 256"),
            ("disc-cache", "1M", "16M or more"),
            ("cache-dir", "", "leave it out"),
            ("anonymous", "perhaps", "anonymous=yes"),
            ("region", "", "leave it out"),
        ] {
            let error = options.set(name, value).unwrap_err();
            assert!(error.contains(way_out) && !error.ends_with('.'), "{error}");
        }
    }
}
