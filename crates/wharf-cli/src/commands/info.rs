//! `wharf info`: what is inside a source, without mounting it.

use std::fmt::Write as _;

use wharf_drivers::info::{Describe, Info, Value};

use crate::drivers;
use crate::failure::Failure;
use crate::plan;
use crate::show::{plain, print};
use crate::sizes;
use crate::spec::Spec;

/// Prints what the driver says.
pub(crate) fn run(plan: &plan::Info) -> Result<(), Failure> {
    match &plan.spec {
        #[cfg(feature = "mirror")]
        Spec::Mirror(source) => tell(plan, &drivers::mirror::for_info(source)?),
        #[cfg(feature = "memory")]
        Spec::Memory(size) => tell(plan, &drivers::memory::make(*size)),
        #[cfg(feature = "fat")]
        Spec::Fat(fat) => tell(plan, &drivers::fat::for_info(fat)?),
        #[cfg(feature = "remote")]
        Spec::Remote(remote) => tell(plan, &drivers::remote::for_info(remote)?),
        #[cfg(feature = "zip")]
        Spec::Zip(zip) => tell(plan, &drivers::zip::open(zip)?),
        #[cfg(not(all(
            feature = "fat",
            feature = "memory",
            feature = "mirror",
            feature = "remote",
            feature = "zip"
        )))]
        spec => Err(drivers::left_out(spec)),
    }
}

fn tell(plan: &plan::Info, source: &impl Describe) -> Result<(), Failure> {
    let shown = plain(plan.spec.source());
    let info = source.describe().map_err(|error| {
        Failure::Operation(format!("{shown} cannot be read ({error}); see that it is whole"))
    })?;
    print(&text(&shown, plan.spec.driver(), &info))
}

/// The source, then a line per fact, then the remarks.
fn text(source: &str, driver: &str, info: &Info) -> String {
    let width = info.facts().iter().map(|fact| fact.name.len()).max().unwrap_or(0).max("driver".len());
    let mut text = format!("{source}\n  {:width$}  {driver}\n", "driver");
    for fact in info.facts() {
        let value = match &fact.value {
            Value::Text(words) => plain(words),
            Value::Count(count) => count.to_string(),
            Value::Bytes(bytes) => sizes::told(*bytes),
        };
        let _ = writeln!(text, "  {:width$}  {value}", fact.name);
    }
    for remark in info.remarks() {
        let _ = writeln!(text, "  {}", plain(remark));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_aligned_and_cannot_write_on_the_terminal() {
        let info =
            Info::new().count("files", 7).bytes("packed", 1536).text("comment", "a\x1b[2J").remark("b\n");
        assert_eq!(
            text("zip:/a.zip", "zip", &info),
            "zip:/a.zip\n  driver   zip\n  files    7\n  packed   1.5 KiB (1536 bytes)\n  \
             comment  a\\u{1b}[2J\n  b\\n\n"
        );
    }
}
