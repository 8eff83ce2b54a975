//! What is mounted, as it is typed: `mirror:PATH`, `memory:size=1G,inodes=1000`, `zip:FILE`.
//!
//! A closed set: whoever adds a file system adds a variant here and follows the compiler to where it is made.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

mod fat;
mod remote;

use crate::sizes;

pub(crate) use fat::{Fat, Part};
pub(crate) use remote::Remote;

/// The schemes, for help and errors.
pub(crate) const KNOWN: &str =
    "mirror:PATH, fat:IMAGE[@OFFSET|#PARTITION], remote:URL, zip:FILE or memory:[size=BYTES][,inodes=NUMBER]";

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// `mirror:PATH`: an existing directory.
    Mirror(PathBuf),
    /// `memory:`: a new file system in memory.
    Memory(Memory),
    /// `fat:IMAGE`: a FAT volume on a device or in an image.
    Fat(Fat),
    /// `remote:URL`: what is behind a network service.
    Remote(Remote),
    /// `zip:FILE`: an archive.
    Zip(Zip),
}

/// How large a memory volume may grow. `None` leaves it to the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) bytes_max: Option<u64>,
    pub(crate) inodes_max: Option<u64>,
}

/// An option of a file system, as it is typed beside a spec: `NAME=VALUE`, or `NAME` to switch it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// An archive, and how much of it may be held unpacked. `None` leaves it to the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zip {
    pub(crate) archive: PathBuf,
    pub(crate) cache_bytes_max: Option<u64>,
}

impl Setting {
    pub(crate) fn parse(typed: &OsStr) -> Result<Setting, String> {
        let text = typed.to_str().ok_or("an option is NAME=VALUE, in plain letters")?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(format!("`{text}` is no option; write NAME=VALUE, as in size=1G"));
        }
        Ok(Setting { name: name.to_owned(), value: value.to_owned() })
    }
}

impl Spec {
    /// Reads a spec. The error is a sentence with the way out.
    pub(crate) fn parse(typed: &OsStr) -> Result<Spec, String> {
        let text = typed.as_bytes();
        let Some(colon) = text.iter().position(|&byte| byte == b':') else {
            return Err(without_scheme(typed));
        };
        let (scheme, rest) = (&text[..colon], OsStr::from_bytes(&text[colon + 1..]));
        match scheme {
            b"mirror" if rest.is_empty() => {
                Err("mirror: needs the directory that it shows, as in mirror:/srv/data".into())
            }
            b"mirror" => Ok(Spec::Mirror(rest.into())),
            b"memory" => Memory::parse(rest).map(Spec::Memory),
            b"fat" => Fat::parse(rest).map(Spec::Fat),
            b"remote" => Remote::parse(rest).map(Spec::Remote),
            b"zip" if rest.is_empty() => {
                Err("zip: needs the archive that it shows, as in zip:photos.zip".into())
            }
            b"zip" => Ok(Spec::Zip(Zip { archive: rest.into(), cache_bytes_max: None })),
            _ if scheme.contains(&b'/') => Err(without_scheme(typed)),
            _ => {
                let scheme = OsStr::from_bytes(scheme).display();
                Err(format!("`{scheme}:` is no file system known here; use {KNOWN}"))
            }
        }
    }

    /// The same with paths that do not depend on the working directory.
    pub(crate) fn absolute(self, working_directory: &Path) -> Spec {
        let absolute = |path: PathBuf| {
            let path = working_directory.join(path);
            path::absolute(&path).unwrap_or(path)
        };
        match self {
            Spec::Mirror(source) => Spec::Mirror(absolute(source)),
            Spec::Fat(fat) => Spec::Fat(fat.absolute(working_directory)),
            Spec::Memory(_) | Spec::Remote(_) => self,
            Spec::Zip(zip) => Spec::Zip(Zip { archive: absolute(zip.archive), ..zip }),
        }
    }

    /// Sets an option that was typed beside the spec. The error is a sentence with the way out.
    pub(crate) fn set(&mut self, setting: &Setting) -> Result<(), String> {
        match self {
            Spec::Mirror(_) => Err(format!("mirror: takes no options; leave {} out", setting.name)),
            Spec::Memory(memory) => memory.set(setting),
            Spec::Fat(fat) => fat.set(setting),
            Spec::Remote(remote) => remote.set(setting),
            Spec::Zip(zip) => zip.set(setting),
        }
    }

    /// Who serves it, as the kernel's table of mounts has it.
    pub(crate) fn driver(&self) -> &'static str {
        match self {
            Spec::Mirror(_) => "mirror",
            Spec::Memory(_) => "memory",
            Spec::Fat(_) => "fat",
            Spec::Remote(_) => "remote",
            Spec::Zip(_) => "zip",
        }
    }

    /// Whether nothing can be changed in it, whatever the mount allows.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Spec::Mirror(_) | Spec::Memory(_) | Spec::Remote(_) => false,
            Spec::Fat(fat) => !fat.write,
            Spec::Zip(_) => true,
        }
    }

    /// What it shows, as it would be typed.
    pub(crate) fn source(&self) -> OsString {
        let mut text = OsString::from(self.driver());
        text.push(":");
        match self {
            Spec::Mirror(source) => text.push(source),
            Spec::Memory(memory) => text.push(memory.show()),
            Spec::Fat(fat) => text.push(fat.show()),
            Spec::Remote(remote) => text.push(remote.show()),
            Spec::Zip(zip) => text.push(&zip.archive),
        }
        text
    }
}

impl Memory {
    fn parse(typed: &OsStr) -> Result<Memory, String> {
        let text = typed.to_str().ok_or("memory: takes size=BYTES and inodes=NUMBER, in plain letters")?;
        let mut memory = Memory::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            memory.set(&Setting::parse(OsStr::new(option))?)?;
        }
        Ok(memory)
    }

    fn set(&mut self, Setting { name, value }: &Setting) -> Result<(), String> {
        let (place, number) = match name.as_str() {
            "size" => (&mut self.bytes_max, sizes::bytes(value)?),
            "inodes" => (&mut self.inodes_max, sizes::count(value)?),
            _ => {
                return Err(format!("memory: takes no `{name}`; it takes size=BYTES and inodes=NUMBER"));
            }
        };
        if number == 0 {
            return Err(format!("memory: with no {name} could hold nothing; leave {name}=0 out"));
        }
        if place.replace(number).is_some() {
            return Err(format!("memory: was given {name}= twice; keep one"));
        }
        Ok(())
    }

    fn show(&self) -> String {
        let size = self.bytes_max.map(|bytes| format!("size={}", sizes::show(bytes)));
        let inodes = self.inodes_max.map(|inodes| format!("inodes={inodes}"));
        Vec::from_iter(size.into_iter().chain(inodes)).join(",")
    }
}

impl Zip {
    fn set(&mut self, Setting { name, value }: &Setting) -> Result<(), String> {
        if name != "cache" {
            return Err(format!("zip: takes no `{name}`; it takes cache=BYTES"));
        }
        if self.cache_bytes_max.replace(sizes::bytes(value)?).is_some() {
            return Err("zip: was given cache= twice; keep one".into());
        }
        Ok(())
    }
}

/// No scheme: perhaps a path, perhaps a forgotten colon.
fn without_scheme(typed: &OsStr) -> String {
    let shown = typed.display();
    match typed.as_bytes() {
        b"memory" => "memory needs a colon: write memory: or memory:size=512M".into(),
        b"fat" => "fat needs a colon and an image or a device, as in fat:card.img".into(),
        b"mirror" => "mirror needs a colon and a directory, as in mirror:/srv/data".into(),
        b"remote" => "remote needs a colon and a URL, as in remote:https://example.org/data".into(),
        b"zip" => "zip needs a colon and an archive, as in zip:photos.zip".into(),
        bytes if bytes.contains(&b'/') => {
            format!("`{shown}` does not say what serves it; to show that directory write mirror:{shown}")
        }
        _ => format!("`{shown}` does not say what to mount; use {KNOWN}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Spec, String> {
        Spec::parse(OsStr::new(text))
    }

    #[test]
    fn a_mirror_is_everything_behind_the_colon() {
        assert_eq!(parse("mirror:/srv/a,b:c=d"), Ok(Spec::Mirror("/srv/a,b:c=d".into())));
        let odd = OsStr::from_bytes(b"mirror:/srv/\xff");
        let Ok(Spec::Mirror(path)) = Spec::parse(odd) else { panic!("bytes are a path") };
        assert_eq!(path.as_os_str().as_bytes(), b"/srv/\xff");
    }

    #[test]
    fn a_memory_volume_has_a_size_and_a_number_of_inodes() {
        let both = Memory { bytes_max: Some(1 << 30), inodes_max: Some(1000) };
        assert_eq!(parse("memory:size=1G,inodes=1000"), Ok(Spec::Memory(both)));
        assert_eq!(parse("memory:inodes=1000,size=1024M,"), Ok(Spec::Memory(both)));
        assert_eq!(parse("memory:"), Ok(Spec::Memory(Memory::default())));
    }

    #[test]
    fn a_remote_shows_no_user() {
        let spec = parse("remote:ftp://me@h:21/a@b").expect("a URL");
        assert_eq!(spec.source(), "remote:ftp://h:21/a@b");
    }

    #[test]
    fn an_archive_takes_how_much_of_it_is_held() {
        let mut spec = parse("zip:a.zip").expect("a spec");
        let set = |spec: &mut Spec, typed: &str| spec.set(&Setting::parse(OsStr::new(typed)).expect(typed));
        assert_eq!(set(&mut spec, "cache=1G"), Ok(()));
        assert_eq!(spec, Spec::Zip(Zip { archive: "a.zip".into(), cache_bytes_max: Some(1 << 30) }));
        assert!(spec.only_reads());
        for (typed, way_out) in
            [("cache=2G", "keep one"), ("size=1G", "it takes cache=BYTES"), ("cache", "512M")]
        {
            let error = set(&mut spec, typed).expect_err(typed);
            assert!(error.contains(way_out), "{typed}: {error}");
        }
        assert!(Setting::parse(OsStr::new("=1")).is_err());
    }

    #[test]
    fn every_refusal_says_what_to_write_instead() {
        for (typed, way_out) in [
            ("tar:photos.tar", "use mirror:PATH"),
            ("zip", "zip:photos.zip"),
            ("zip:", "zip:photos.zip"),
            ("photos", "use mirror:PATH"),
            ("remote", "remote:https://example.org/data"),
            ("remote:/srv", "remote:https://example.org/data"),
            ("remote:ftp://me:secret@h/", "WHARF_REMOTE_PASSWORD"),
            ("", "use mirror:PATH"),
            (":x", "use mirror:PATH"),
            ("/srv/data", "mirror:/srv/data"),
            ("./a:b", "mirror:./a:b"),
            (".", "use mirror:PATH"),
            ("memory", "memory:size=512M"),
            ("mirror", "mirror:/srv/data"),
            ("mirror:", "mirror:/srv/data"),
            ("fat", "fat:card.img"),
            ("fat:", "fat:card.img"),
            ("memory:colour=red", "it takes size=BYTES and inodes=NUMBER"),
            ("memory:size", "512M"),
            ("memory:size=big", "512M"),
            ("memory:inodes=1K", "in digits"),
            ("memory:size=0", "leave size=0 out"),
            ("memory:size=1G,size=2G", "keep one"),
        ] {
            let error = parse(typed).expect_err(typed);
            assert!(error.contains(way_out), "{typed}: {error}");
            assert!(!error.contains('\n') && !error.ends_with('.'), "one sentence: {error}");
        }
    }

    #[test]
    fn a_source_is_shown_as_it_could_be_typed_anywhere() {
        for (typed, shown) in [
            ("mirror:data/./x/", "mirror:/home/me/data/x/"),
            ("mirror:/srv/data", "mirror:/srv/data"),
            ("memory:", "memory:"),
            ("zip:a,b.zip", "zip:/home/me/a,b.zip"),
            ("fat:card.img#1", "fat:/home/me/card.img#1"),
            ("memory:inodes=7,size=2048M", "memory:size=2G,inodes=7"),
            ("remote:https://h/a@b", "remote:https://h/a@b"),
        ] {
            let spec = parse(typed).expect(typed).absolute(Path::new("/home/me"));
            assert_eq!(spec.source(), shown);
            assert_eq!(Spec::parse(&spec.source()), Ok(spec));
        }
    }
}
