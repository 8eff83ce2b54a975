//! `remote:URL`: which service, and how it is used.

use std::ffi::OsStr;

#[cfg(feature = "remote")]
use wharf_drivers::remote::Location;

use super::Setting;

/// What is behind a network service, and the options that were typed beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) url: String,
    pub(crate) settings: Vec<Setting>,
}

impl Remote {
    pub(super) fn parse(typed: &OsStr) -> Result<Remote, String> {
        let url =
            typed.to_str().ok_or("remote: needs a URL in plain letters, with percent signs for others")?;
        let remote = Remote { url: url.to_owned(), settings: Vec::new() };
        remote.check()?;
        Ok(remote)
    }

    pub(super) fn set(&mut self, setting: &Setting) -> Result<(), String> {
        if self.settings.iter().any(|other| other.name == setting.name) {
            return Err(format!("remote: was given {}= twice; keep one", setting.name));
        }
        self.settings.push(setting.clone());
        self.check()
    }

    /// Where it leads. The error is a sentence with the way out.
    #[cfg(feature = "remote")]
    pub(crate) fn location(&self) -> Result<Location, String> {
        let mut location = Location::parse(&self.url)?;
        for setting in &self.settings {
            location.options.set(&setting.name, &setting.value)?;
        }
        Ok(location)
    }

    /// What is wrong is said before anything is done. A command without this driver refuses it all later.
    #[cfg_attr(not(feature = "remote"), expect(clippy::unnecessary_wraps, reason = "the driver is left out"))]
    #[cfg_attr(not(feature = "remote"), expect(clippy::unused_self, reason = "the driver is left out"))]
    fn check(&self) -> Result<(), String> {
        #[cfg(feature = "remote")]
        self.location()?;
        Ok(())
    }

    /// The URL without the user in it: the table of mounts is for everybody.
    pub(super) fn show(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return self.url.clone() };
        let authority = rest.find('/').unwrap_or(rest.len());
        let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}://{}", &rest[host..])
    }
}
