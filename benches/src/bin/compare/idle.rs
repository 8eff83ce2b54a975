//! A mounted volume that nobody uses must use nothing.

use std::time::Duration;

use wharf_benches::clock;

use crate::servers::Running;

const SPAN: Duration = Duration::from_secs(5);

/// Milliseconds of CPU that each server used while nobody asked it anything.
pub fn measure(up: &[Running]) -> Vec<(&'static str, f64)> {
    let read = |running: &Running| Some((running.server.name, clock::process_cpu(running.pid()?)?));
    // What they still do after the start is not idling.
    std::thread::sleep(Duration::from_millis(500));
    let before: Vec<_> = up.iter().filter_map(read).collect();
    std::thread::sleep(SPAN);
    let after: Vec<_> = up.iter().filter_map(read).collect();
    let spent = |((name, before), (_, after)): (&(&'static str, Duration), &(&'static str, Duration))| {
        (*name, after.saturating_sub(*before).as_secs_f64() * 1000.0)
    };
    before.iter().zip(&after).map(spent).collect()
}
