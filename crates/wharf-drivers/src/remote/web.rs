//! Plain HTTP: no listings, but pages made for people, which every server with an index writes alike enough;
//! and uploads that are streamed.
//!
//! A page is a stranger's. Of it only links count that lead to a name right below it, on the same server.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream;
use opendal::ErrorKind;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tokio::sync::watch;
use url::Url;
use wharf::{Kind, Time};

use super::Result;
use super::credentials::{Credentials, Secret};
use super::engine::{late, within};
use super::failure::Failure;
use super::location::Location;
use super::meta::{Meta, Version};
use super::outgoing::Outgoing;

/// A page longer than this is refused.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// Asks a server for pages and for what is behind a name, and gives it files.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    root: Url,
    user: Option<(String, Option<Secret>)>,
    token: Option<Secret>,
}

/// How to speak in private, with those whose certificates the system trusts.
pub(super) fn tls() -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used ({error})"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A client for all of a volume's requests.
pub(super) fn client(connect_within: Duration) -> Result<Client, String> {
    let config = tls()?;
    Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(connect_within)
        .tcp_nodelay(true)
        // A name that leads elsewhere is followed there, but credentials never go to another host.
        .build()
        .map_err(|error| format!("HTTP cannot be used ({error})"))
}

impl Web {
    pub(super) fn new(client: Client, location: &Location, credentials: &Credentials) -> Result<Web, String> {
        let user = credentials.user.clone().or_else(|| location.user.clone());
        let user = user.map(|user| (user, credentials.password.clone()));
        let root = Url::parse(&format!("{}{}", location.origin(), location.url.path()));
        let root = root.map_err(|error| format!("{location} cannot be used ({error})"))?;
        Ok(Web { client, root, user, token: credentials.token.clone() })
    }

    /// Gives the server a whole file. A piece that is not taken within `patience` ends it.
    pub(super) async fn put(&self, path: &str, file: &Outgoing, patience: Duration) -> Result<(), Failure> {
        const DOING: &str = "uploading a file";
        const PIECE_BYTES: u64 = 1 << 20;
        let url = self.url(path, DOING)?;
        let (taken, mut progress) = watch::channel(0_u64);
        let (file, size) = (file.clone(), file.size);
        let pieces = stream::try_unfold((0, taken), move |(at, taken)| {
            let file = file.clone();
            async move {
                taken.send_replace(at);
                if at == size {
                    return Ok(None);
                }
                let len = PIECE_BYTES.min(size - at);
                let piece = file.piece(at, len).await.map_err(|failure| failure.error)?;
                Ok::<_, wharf::Error>(Some((piece, (at + len, taken))))
            }
        });
        let body = reqwest::Body::wrap_stream(pieces);
        let request = self.request(Method::PUT, url).header(header::CONTENT_LENGTH, size).body(body);
        let mut sent = std::pin::pin!(self.answered(request, DOING));
        // The deadline is for each piece, and for the answer after the last.
        loop {
            let stuck = tokio::time::timeout(patience, progress.changed());
            match select(sent.as_mut(), std::pin::pin!(stuck)).await {
                Either::Left((answered, _)) => return answered.map(drop),
                Either::Right((Ok(Ok(())), _)) => {}
                Either::Right((Ok(Err(_)), _)) => {
                    let answered = within(patience, DOING, async { Ok(sent.await) }).await;
                    return answered.map_err(Failure::of)?.map(drop);
                }
                Either::Right((Err(_), _)) => return Err(Failure::of(late(DOING))),
            }
        }
    }

    /// What is behind a name. The server says by its redirection whether that is a directory.
    pub(super) async fn stat(&self, path: &str) -> Result<Meta, Failure> {
        const DOING: &str = "asking for a file";
        let url = self.url(path, DOING)?;
        let response = self.send(Method::HEAD, url, DOING).await?;
        if response.url().path().ends_with('/') {
            return Ok(Meta::directory());
        }
        let headers = response.headers();
        // Without a length there is no range to ask for, and no end to tell a program of.
        let size = number(headers)
            .ok_or_else(|| told(ErrorKind::Unsupported, DOING, "the server tells no length"))?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let modified = text(header::LAST_MODIFIED)
            .and_then(|text| opendal::raw::Timestamp::parse_rfc2822(text).ok())
            .map(|time| Time::from(std::time::SystemTime::from(time)));
        let etag = text(header::ETAG).map(Arc::from);
        Ok(Meta { kind: Kind::File, version: Version { size, modified, etag } })
    }

    /// The names below a directory, with their kinds.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<(String, Kind)>, Failure> {
        const DOING: &str = "asking for a directory";
        let directory = if path.is_empty() { String::new() } else { format!("{path}/") };
        let url = self.url(&directory, DOING)?;
        let mut response = self.send(Method::GET, url, DOING).await?;
        let is_html = |value: &header::HeaderValue| value.to_str().is_ok_and(|text| text.contains("html"));
        if !response.headers().get(header::CONTENT_TYPE).is_some_and(is_html) {
            return Err(told(ErrorKind::Unsupported, DOING, "the server shows no index of it"));
        }
        let base = response.url().clone();
        let mut page = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(DOING, error))? {
            if page.len() + chunk.len() > PAGE_BYTES_MAX {
                return Err(told(ErrorKind::Unsupported, DOING, "the server's index is too long"));
            }
            page.extend_from_slice(&chunk);
        }
        Ok(links(&base, &String::from_utf8_lossy(&page)))
    }

    fn url(&self, path: &str, doing: &'static str) -> Result<Url, Failure> {
        let mut url = self.root.clone();
        let mut segments =
            url.path_segments_mut().map_err(|()| told(ErrorKind::Unexpected, doing, "no path"))?;
        segments.pop_if_empty();
        segments.extend(path.split('/'));
        drop(segments);
        Ok(url)
    }

    async fn send(&self, method: Method, url: Url, doing: &'static str) -> Result<Response, Failure> {
        self.answered(self.request(method, url), doing).await
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let mut request = self.client.request(method, url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        } else if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, password.as_ref().map(Secret::reveal));
        }
        request
    }

    async fn answered(&self, request: RequestBuilder, doing: &'static str) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| broken(doing, error))?;
        let status = response.status();
        let kind = match status {
            _ if status.is_success() => return Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
            _ => ErrorKind::Unexpected,
        };
        let error = opendal::Error::new(kind, format!("the server says {status}"));
        Err(Failure::new(doing, error.with_temporary(status.is_server_error())))
    }
}

fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn told(kind: ErrorKind, doing: &'static str, what: &'static str) -> Failure {
    Failure::new(doing, opendal::Error::new(kind, what))
}

fn broken(doing: &'static str, error: reqwest::Error) -> Failure {
    let told = opendal::Error::new(ErrorKind::Unexpected, "the connection failed").set_temporary();
    Failure::new(doing, told.set_source(error.without_url()))
}

/// The names that a page links to right below `base`.
fn links(base: &Url, page: &str) -> Vec<(String, Kind)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for target in targets(page) {
        let Some((name, kind)) = below(base, &unescaped(target)) else { continue };
        if seen.insert(name.clone()) {
            found.push((name, kind));
        }
    }
    found
}

/// What the links of a page say, as it is written there.
fn targets(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let at = rest.to_ascii_lowercase_find("href")?;
            rest = rest[at + 4..].trim_start();
            let Some(value) = rest.strip_prefix('=') else { continue };
            let value = value.trim_start();
            let quote = value.chars().next()?;
            if quote != '"' && quote != '\'' {
                continue;
            }
            let value = &value[1..];
            let end = value.find(quote)?;
            rest = &value[end..];
            return Some(&value[..end]);
        }
    })
}

trait FindLowercase {
    fn to_ascii_lowercase_find(&self, what: &str) -> Option<usize>;
}

impl FindLowercase for str {
    fn to_ascii_lowercase_find(&self, what: &str) -> Option<usize> {
        let (bytes, what) = (self.as_bytes(), what.as_bytes());
        bytes.windows(what.len()).position(|window| window.eq_ignore_ascii_case(what))
    }
}

/// The name that a link leads to, if it is right below `base`; with its kind.
fn below(base: &Url, target: &str) -> Option<(String, Kind)> {
    let url = base.join(target).ok()?;
    if url.origin() != base.origin() || url.query().is_some() {
        return None;
    }
    let rest = url.path().strip_prefix(base.path())?;
    let (segment, kind) = match rest.strip_suffix('/') {
        Some(segment) => (segment, Kind::Directory),
        None => (rest, Kind::File),
    };
    let name = percent_encoding::percent_decode_str(segment).decode_utf8().ok()?;
    // A slash in a name, written as %2F, would lead out of here.
    (!segment.is_empty() && !segment.contains('/') && !name.contains('/')).then(|| (name.into_owned(), kind))
}

/// Without the few escapes that occur in links.
fn unescaped(text: &str) -> String {
    let plain =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_right_below_the_page_are_names() {
        let base = Url::parse("http://h/pub/data/").unwrap();
        let page = r#"<html><A HREF="../">up</a> <a href="?C=N;O=D">sort</a> <a href='a%20b.txt'>x</a>
            <a href="/pub/data/c&amp;d">y</a> <a href="sub/">z</a> <a href="sub/">again</a> <a href="sub/deep">n</a>
            <a href="http://elsewhere/pub/data/e">n</a> <a href="x%2f..%2fy">n</a> <a href="//h/pub/data/f">ok</a>
            <a href="javascript:alert(1)">n</a> <a href=>n</a> <a href="unfinished"#;
        let found = links(&base, page);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a b.txt", "c&d", "sub", "f"]);
        assert_eq!(found[2].1, Kind::Directory);
        assert!(found.iter().filter(|(_, kind)| *kind == Kind::File).count() == 3);
    }

    #[test]
    fn no_page_takes_long_or_panics() {
        let base = Url::parse("http://h/").unwrap();
        for page in [
            "href",
            "href=",
            "href='",
            "<a href=\"\u{fffd}",
            &"href='".repeat(20_000),
            &"href ".repeat(20_000),
        ] {
            assert!(links(&base, page).len() <= 2, "{page:.20}");
        }
    }
}
