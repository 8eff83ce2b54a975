//! The service behind one volume: its few operations, each within its deadline, tried again where that is safe.
//!
//! Nothing here knows nodes, caches or programs.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use opendal::{Capability, ErrorKind, HttpTransporter, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::sync::Semaphore;
use wharf::error::Kind as Why;
use wharf::{Error, Kind};

use super::Result;
use super::credentials::{Credentials, Secret};
use super::engine::within;
use super::failure::{Failure, chance, pause};
use super::ftp::{Ftp, Login};
use super::location::{Location, Service};
use super::meta::{Found, Meta, Version};
use super::own::Own;
use super::sftp::{Sftp, Target};
use super::stream;
use super::web::{self, Web};

/// Attempts at one operation, the first included; the deadline may end them earlier.
pub(super) const ATTEMPTS_MAX: u32 = 6;

/// The service behind one volume.
pub(super) struct Store {
    /// For what is not asked by ourselves.
    operator: Option<Operator>,
    pub(super) own: Option<Own>,
    /// Directories are what is in them.
    objects: bool,
    /// Plain HTTP and WebDAV, for what the operator cannot do, or not well.
    pub(super) web: Option<Web>,
    /// Plain HTTP: listings and what is behind a name come from pages.
    pages: bool,
    pub(super) connections: Semaphore,
    connections_max: u32,
    pub(super) deadline: Duration,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Store {
    /// Says nothing to the service yet. The error is a sentence.
    pub(super) fn new(location: &Location, credentials: &Credentials) -> Result<Store, String> {
        let options = &location.options;
        let client = web::client(options.deadline)?;
        let operator = operator(location, credentials)?;
        let own = own(location, credentials)?;
        let transport = HttpTransporter::new(ReqwestTransport::new(client.clone()));
        let operator = operator.map(|operator| {
            let context = operator.context().with_http_transport(transport);
            operator.with_context(context)
        });
        let pages = location.service == Service::Http;
        let web = (pages || location.service == Service::WebDav)
            .then(|| Web::new(client, location, credentials))
            .transpose()?;
        Ok(Store {
            operator,
            own,
            objects: location.service == Service::S3,
            web,
            pages,
            connections: Semaphore::new(options.connections_max as usize),
            connections_max: options.connections_max,
            deadline: options.deadline,
        })
    }

    fn pages(&self) -> Option<&Web> {
        self.web.as_ref().filter(|_| self.pages)
    }

    /// What the service can do.
    pub(super) fn can(&self) -> Capability {
        match &self.operator {
            Some(operator) => operator.service().capability_dyn(),
            None => Capability { read: true, write: true, rename: true, ..Capability::default() },
        }
    }

    /// The service, if it is FTP.
    pub(super) fn ftp(&self) -> Option<&Ftp> {
        match &self.own {
            Some(Own::Ftp(ftp)) => Some(ftp),
            _ => None,
        }
    }

    /// Whether who reads on is best served by one long request.
    pub(super) fn streams(&self) -> bool {
        self.ftp().is_some() && self.connections_max >= stream::CONNECTIONS
    }

    /// Bytes that one request should ask for, at most. More would keep the other connections idle.
    pub(super) fn range_bytes_max(&self) -> u64 {
        self.own.as_ref().map_or(2 << 20, Own::range_bytes_max)
    }

    /// OpenDAL's side of the service.
    pub(super) fn operator(&self) -> Result<&Operator, Failure> {
        self.operator.as_ref().ok_or_else(|| Failure::of(Error::not_supported()))
    }

    /// Whether sizes come with names.
    pub(super) fn lists_sizes(&self) -> bool {
        !self.pages
    }

    /// Sees that the service answers and has the place.
    pub(super) async fn check(&self) -> Result<()> {
        const DOING: &str = "connecting";
        let attempt = || async {
            if let Some(own) = &self.own {
                return own.check().await;
            }
            match self.pages() {
                // A server that shows no index may still have files for who knows their names.
                Some(pages) => match pages.list("").await {
                    Err(failure) if failure.error.kind() == Why::NotSupported => Ok(()),
                    listed => listed.map(drop),
                },
                None => self.operator()?.check().await.map_err(|error| Failure::new(DOING, error)),
            }
        };
        self.tried(DOING, attempt).await
    }

    /// What a name is.
    pub(super) async fn stat(&self, path: &str) -> Result<Meta> {
        self.tried("asking for a file", || self.stat_once(path)).await
    }

    async fn stat_once(&self, path: &str) -> Result<Meta, Failure> {
        const DOING: &str = "asking for a file";
        if let Some(pages) = self.pages() {
            return pages.stat(path).await;
        }
        if let Some(own) = &self.own {
            return own.stat(path).await;
        }
        let operator = self.operator()?;
        let told = match operator.stat(path).await {
            // A store of objects knows directories by what is in them.
            Err(_) if self.objects && self.has_any(path).await => return Ok(Meta::directory()),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.objects => {
                operator.stat(&format!("{path}/")).await
            }
            told => told,
        };
        let told = told.map_err(|error| Failure::new(DOING, error))?;
        Meta::new(&told).ok_or_else(|| Failure::of(Error::not_found()))
    }

    /// Whether anything has a path that begins with this one and a slash.
    async fn has_any(&self, path: &str) -> bool {
        let Some(operator) = &self.operator else { return false };
        let lister = operator.lister_with(&format!("{path}/")).limit(1).await;
        match lister {
            Ok(mut lister) => matches!(lister.try_next().await, Ok(Some(_))),
            Err(_) => false,
        }
    }

    /// Gives each name of a directory to `add`, as they come. After a failure part of the way names may come
    /// a second time.
    pub(super) async fn list(&self, path: &str, add: &(dyn Fn(Found) + Sync)) -> Result<()> {
        self.tried("listing a directory", || self.list_once(path, add)).await
    }

    async fn list_once(&self, path: &str, add: &(dyn Fn(Found) + Sync)) -> Result<(), Failure> {
        const DOING: &str = "listing a directory";
        if let Some(pages) = self.pages() {
            for (name, kind) in pages.list(path).await? {
                let meta = (kind == Kind::Directory).then(Meta::directory);
                add(Found { name, kind, meta });
            }
            return Ok(());
        }
        if let Some(own) = &self.own {
            own.list(path).await?.into_iter().for_each(add);
            return Ok(());
        }
        let directory = format!("{path}/");
        let mut lister =
            self.operator()?.lister(&directory).await.map_err(|error| Failure::new(DOING, error))?;
        while let Some(entry) = lister.try_next().await.map_err(|error| Failure::new(DOING, error))? {
            // The directory itself comes along in some services.
            let Some(name) = entry.path().strip_prefix(directory.trim_start_matches('/')) else { continue };
            let name = name.trim_end_matches('/').to_owned();
            let Some(meta) = Meta::new(entry.metadata()) else { continue };
            add(Found { name, kind: meta.kind, meta: Some(meta) });
        }
        Ok(())
    }

    /// Reads a range of exactly these contents and gives it to `take` piece by piece. One attempt.
    ///
    /// Nothing is given before it is known to be of this version; more or fewer bytes are a failure.
    pub(super) async fn read(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
        take: &mut (dyn FnMut(Bytes) + Send),
    ) -> Result<(), Failure> {
        const DOING: &str = "reading a file";
        // All of a file is asked for without a range: not every server has them.
        let whole = range == (0..version.size);
        if let Some(ftp) = self.ftp() {
            let part = (range.start, range.end - range.start, range.end == version.size);
            if whole {
                // One answer is of one version, and what is longer or shorter is not taken.
                return ftp.read(path, part, take).await;
            }
            let mut held = Vec::new();
            ftp.read(path, part, &mut |piece| held.push(piece)).await?;
            self.expect(path, version, DOING).await?;
            held.into_iter().for_each(take);
            return Ok(());
        }
        if let Some(Own::Sftp(sftp)) = &self.own {
            return sftp.read(path, range, version, take).await;
        }
        let failed = |error| Failure::new(DOING, error);
        let can = self.can();
        let mut reader = self.operator()?.reader_with(path).content_length_hint(version.size);
        match (version.strong_etag(), version.modified) {
            (Some(etag), _) if can.read_with_if_match => reader = reader.if_match(etag),
            (_, Some(time)) if can.read_with_if_unmodified_since => {
                if let Ok(time) = opendal::raw::Timestamp::from_second(time.seconds) {
                    reader = reader.if_unmodified_since(time);
                }
            }
            _ => {}
        }
        let reader = reader.await.map_err(failed)?;
        let stream = match whole {
            true => reader.clone().into_stream(..).await,
            false => reader.clone().into_stream(range.clone()).await,
        };
        let mut stream = stream.map_err(failed)?;
        let mut left = range.end - range.start;
        let mut held = Vec::new();
        while let Some(piece) = stream.try_next().await.map_err(failed)? {
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| Failure::stale(DOING))?;
            match reader.metadata() {
                Some(told) if !Version::new(told).is_same(version) => return Err(Failure::stale(DOING)),
                Some(_) => piece.into_iter().for_each(&mut *take),
                None => held.extend(piece),
            }
        }
        if !held.is_empty() {
            self.expect(path, version, DOING).await?;
            held.into_iter().for_each(take);
        }
        if left > 0 {
            let short = opendal::Error::new(ErrorKind::Unexpected, "the answer ended too early");
            return Err(failed(short.set_temporary()));
        }
        Ok(())
    }

    /// An answer did not say of which version it was. The file does, if it has not changed meanwhile.
    pub(super) async fn expect(
        &self,
        path: &str,
        version: &Version,
        doing: &'static str,
    ) -> Result<(), Failure> {
        let now = self.stat_once(path).await?.version;
        if now.is_same(version) { Ok(()) } else { Err(Failure::stale(doing)) }
    }

    /// Does something that may be done twice, until it works or its time is over.
    pub(super) async fn tried<T, F>(
        &self,
        doing: &'static str,
        attempt: impl FnMut() -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        within(self.deadline, doing, self.tried_on(attempt)).await
    }

    async fn tried_on<T, F>(&self, mut attempt: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let begun = Instant::now();
        for number in 1.. {
            let connection = self.connections.acquire().await;
            let failure = match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            // Others may have it while this one waits.
            drop(connection);
            let rest = pause(number, chance());
            if !failure.again || number == ATTEMPTS_MAX || begun.elapsed() + rest >= self.deadline {
                return Err(failure.error);
            }
            log::debug!("{}; asking again in {rest:?}", failure.error);
            tokio::time::sleep(rest).await;
        }
        Err(Error::new(Why::Io))
    }
}

/// Our side of a service, for those that OpenDAL does not speak, or not well.
fn own(location: &Location, credentials: &Credentials) -> Result<Option<Own>, String> {
    match location.service {
        Service::Ftp => ftp(location, credentials).map(|ftp| Some(Own::Ftp(ftp))),
        Service::Sftp => sftp(location, credentials).map(|sftp| Some(Own::Sftp(sftp))),
        _ => Ok(None),
    }
}

fn ftp(location: &Location, credentials: &Credentials) -> Result<Ftp, String> {
    let host = location.url.host_str().unwrap_or_default().to_owned();
    let user = credentials.user.as_deref().or(location.user.as_deref()).unwrap_or("anonymous");
    let password = credentials.password.as_ref().map(Secret::reveal).unwrap_or("anonymous@");
    let login = Login {
        address: format!("{host}:{}", location.url.port().unwrap_or(21)),
        secure: match location.url.scheme() {
            "ftps" => Some((host, web::tls()?.into())),
            _ => None,
        },
        user: user.to_owned(),
        password: password.to_owned(),
    };
    Ok(Ftp::new(login, location.root()?, location.options.connections_max))
}

fn sftp(location: &Location, credentials: &Credentials) -> Result<Sftp, String> {
    if credentials.password.is_some() || credentials.token.is_some() {
        return Err(format!(
            "{location} takes keys and no passwords; leave the password out of WHARF_REMOTE_PASSWORD and of the \
             credentials, and use ssh-agent, or --option identity=FILE"
        ));
    }
    let options = &location.options;
    // They are read with each new connection, wherever this process is by then.
    let absolute = |path: &Option<PathBuf>| path.as_deref().and_then(|path| std::path::absolute(path).ok());
    let host = location.url.host_str().unwrap_or_default();
    let target = Target {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: location.url.port(),
        user: credentials.user.as_ref().or(location.user.as_ref()).cloned(),
        identity: absolute(&options.identity),
        config: absolute(&options.ssh_config),
    };
    Ok(Sftp::new(target, &location.root()?, options.deadline))
}

/// OpenDAL's side of a service; `None` where it is asked by ourselves.
fn operator(location: &Location, credentials: &Credentials) -> Result<Option<Operator>, String> {
    let root = location.root()?;
    let user = credentials.user.as_deref().or(location.user.as_deref()).unwrap_or_default();
    let secret = |secret: &Option<Secret>| {
        secret.as_ref().map(|secret| secret.reveal().to_owned()).unwrap_or_default()
    };
    let (password, token) = (secret(&credentials.password), secret(&credentials.token));
    let operator = match location.service {
        Service::Files => {
            let directory = location.directory()?;
            let directory = directory.to_str().ok_or("remote: needs a path in UTF-8")?;
            Operator::new(services::Fs::default().root(directory))
        }
        Service::Http => Operator::new(
            services::Http::default()
                .endpoint(&location.origin())
                .root(&root)
                .username(user)
                .password(&password)
                .token(&token),
        ),
        Service::WebDav => Operator::new(
            services::Webdav::default()
                .endpoint(&location.origin())
                .root(&root)
                .username(user)
                .password(&password)
                .token(&token),
        ),
        Service::Ftp | Service::Sftp => return Ok(None),
        Service::S3 => {
            let bucket = location.url.host_str().unwrap_or_default();
            let options = &location.options;
            let mut s3 = services::S3::default().bucket(bucket).root(&root);
            if options.anonymous {
                s3 = s3.skip_signature();
            }
            if let Some(endpoint) = &options.endpoint {
                s3 = s3.endpoint(endpoint);
            }
            s3 = s3.region(options.region.as_deref().unwrap_or("us-east-1"));
            if let (Some(id), Some(key)) = (&credentials.access_key_id, &credentials.secret_access_key) {
                s3 = s3.access_key_id(id).secret_access_key(key.reveal());
            }
            Operator::new(s3)
        }
    };
    operator.map(Some).map_err(|error| format!("{location} cannot be used ({})", error.message()))
}
