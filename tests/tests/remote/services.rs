//! S3 and FTP, by servers that others wrote.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use tokio::runtime::Runtime;
use wharf::Errno;
use wharf::op::RenameHow;
use wharf::testing::Volume;
use wharf_drivers::remote::{Location, Remote};

use crate::{Shown, noise};

/// A server with a directory, until it is dropped.
struct Service {
    data: tempfile::TempDir,
    /// Spool and credentials.
    ours: tempfile::TempDir,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Service {
    fn new(start: impl FnOnce(&Runtime, &std::path::Path, TcpListener)) -> Service {
        let (data, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().unwrap();
        start(&runtime, data.path(), listener);
        Service { data, ours, address, _runtime: runtime }
    }

    fn volume(&self, url: &str, credentials: &str, options: &[(&str, &str)]) -> Volume<Remote> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.ours.path().join("credentials");
        fs::write(&file, credentials).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut location = Location::parse(url).unwrap();
        for (name, value) in options {
            location.options.set(name, value).unwrap();
        }
        location.options.credentials = Some(file);
        location.options.spool = Some(self.ours.path().to_owned());
        let _ = log::set_logger(&Shown).map(|()| log::set_max_level(log::LevelFilter::Debug));
        crate::patient(Volume::new(Remote::new(&location).unwrap_or_else(|error| panic!("{error}"))))
    }
}

#[test]
fn s3_is_read_written_and_renamed() {
    let service = Service::new(|runtime, data, listener| {
        fs::create_dir(data.join("bucket")).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(data).unwrap());
        builder.set_auth(s3s::auth::SimpleAuth::from_single("me", "hidden"));
        let s3 = builder.build();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let stream = hyper_util::rt::TokioIo::new(stream);
                let s3 = s3.clone();
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, s3).await;
                });
            }
        });
    });
    let endpoint = format!("http://{}", service.address);
    let options = [("endpoint", &*endpoint)];
    let keys = "access-key-id=me\nsecret-access-key=hidden\n";
    let mut volume = service.volume("s3://bucket/in/here", keys, &options);
    // Larger than a part, so it goes in parts.
    let big = noise(19 << 20, 40);
    volume.mkdir("a").unwrap();
    volume.write("a/big", &big).unwrap();
    volume.write("a/small", b"words").unwrap();
    assert!(fs::read(service.data.path().join("bucket/in/here/a/big")).unwrap() == big);
    assert!(volume.read("a/big").unwrap() == big);
    assert_eq!(volume.list("a").unwrap(), ["big", "small"]);
    volume.rename("a/small", "a/other", RenameHow::Replace).unwrap();
    assert_eq!(volume.read("a/other").unwrap(), b"words");
    assert_eq!(volume.rename("a", "b", RenameHow::Replace), Err(Errno::EXDEV), "mv copies by itself then");
    volume.unlink("a/other").unwrap();
    volume.unlink("a/big").unwrap();
    assert_eq!(volume.stat("a/big"), Err(Errno::ENOENT));
    volume.unmount();
    let refused = Location::parse("s3://bucket/in/here").map(|mut location| {
        location.options.endpoint = Some(endpoint.clone());
        location.options.anonymous = true;
        Remote::new(&location).map(drop)
    });
    let refused = refused.unwrap().unwrap_err();
    assert!(refused.contains("cannot be used") && !refused.contains("hidden"), "{refused}");
}

#[test]
fn ftp_is_read_written_and_renamed() {
    let service = Service::new(|runtime, data, listener| {
        let data = data.to_owned();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let server = libunftp::ServerBuilder::new(Box::new(move || {
            unftp_sbe_fs::Filesystem::new(data.clone()).expect("a directory")
        }));
        let server = server.passive_ports(20_000..=60_000).build().expect("a server");
        runtime.spawn(async move { server.listen(address.to_string()).await });
    });
    let url = format!("ftp://me@{}/", service.address);
    fs::create_dir(service.data.path().join("sub")).unwrap();
    let big = noise(3 << 20, 41);
    fs::write(service.data.path().join("sub/big"), &big).unwrap();
    let mut volume = service.volume(&url, "password=hidden\n", &[("lifetime", "0")]);
    assert_eq!(volume.list("").unwrap(), ["sub"]);
    assert!(volume.read("sub/big").unwrap() == big);
    volume.mkdir("new").unwrap();
    volume.write("new/file", &big).unwrap();
    assert!(fs::read(service.data.path().join("new/file")).unwrap() == big);
    volume.write("new/empty", b"").unwrap();
    assert_eq!(fs::read(service.data.path().join("new/empty")).unwrap(), b"");
    let mut names = volume.list("new").unwrap();
    names.sort();
    assert_eq!(names, ["empty", "file"]);
    volume.rename("new/file", "new/empty", RenameHow::Replace).unwrap();
    assert!(fs::read(service.data.path().join("new/empty")).unwrap() == big);
    volume.rename("new/empty", "new/file", RenameHow::Replace).unwrap();
    volume.unlink("new/file").unwrap();
    volume.rmdir("new").unwrap();
    assert!(!service.data.path().join("new").exists());
    volume.unmount();
}
