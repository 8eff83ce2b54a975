//! A long way on a short wire: a TCP proxy that hands everything on a while later, in both directions.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that may be under way in one direction: a window that is never in the way.
const UNDER_WAY_MAX: usize = 16 << 20;

/// Hands connections to `from` on to `to`; each byte takes `one_way`. Lives as long as the process.
pub(crate) fn start(from: SocketAddr, to: SocketAddr, one_way: Duration) -> std::io::Result<()> {
    let listener = TcpListener::bind(from)?;
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            thread::spawn(move || {
                // The handshake takes a round trip, too.
                thread::sleep(one_way * 2);
                let Ok(far) = TcpStream::connect(to) else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
                hand_on(near, far, one_way);
                hand_on(far_too, near_too, one_way);
            });
        }
    });
    Ok(())
}

#[derive(Default)]
struct Way {
    under_way: Mutex<UnderWay>,
    changed: Condvar,
}

/// What was taken and not given yet, with the time when it is due.
#[derive(Default)]
struct UnderWay {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

/// One direction: a thread that takes, and one that gives when it is time.
fn hand_on(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let way: Arc<Way> = Arc::default();
    let ours = way.clone();
    let Ok(source) = from.try_clone() else { return };
    thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let len = from.read(&mut buffer).unwrap_or(0);
            let under_way = ours.under_way.lock().expect("no panics");
            let mut under_way =
                ours.changed.wait_while(under_way, |now| now.bytes > UNDER_WAY_MAX).expect("no panics");
            under_way.pieces.push_back((Instant::now() + one_way, buffer[..len].to_vec()));
            under_way.bytes += len;
            drop(under_way);
            ours.changed.notify_all();
            if len == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        loop {
            let under_way = way.under_way.lock().expect("no panics");
            let mut under_way =
                way.changed.wait_while(under_way, |now| now.pieces.is_empty()).expect("no panics");
            let (due, bytes) = under_way.pieces.pop_front().expect("waited for");
            under_way.bytes -= bytes.len();
            drop(under_way);
            way.changed.notify_all();
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if bytes.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            if to.write_all(&bytes).is_err() {
                // Who hung up is not sent to any more.
                let _ = (to.shutdown(Shutdown::Both), source.shutdown(Shutdown::Both));
                return;
            }
        }
    });
}
