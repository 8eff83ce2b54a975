//! The limits of a volume by name: typed as `--limit requests_max=1000`, printed by `wharf list -v`.

use wharf::Limits;

use crate::sizes;

/// One limit.
pub(crate) struct Field {
    /// Its name, which has the unit at its end.
    pub(crate) name: &'static str,
    unit: Unit,
    min: u64,
    get: fn(&Limits) -> u64,
    /// False if it does not fit.
    set: fn(&mut Limits, u64) -> bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Number,
    Bytes,
}

macro_rules! field {
    ($name:ident, $unit:ident, at least $min:expr) => {
        Field {
            name: stringify!($name),
            unit: Unit::$unit,
            min: $min,
            get: |limits| limits.$name.into(),
            set: |limits, value| value.try_into().map(|value| limits.$name = value).is_ok(),
        }
    };
}

/// All of them.
pub(crate) const FIELDS: [Field; 14] = [
    field!(requests_max, Number, at least 1),
    field!(slots_kept, Number, at least 0),
    field!(slot_idle_ms, Number, at least 0),
    field!(payload_bytes_max, Bytes, at least 4096),
    field!(payloads_bytes_max, Bytes, at least 4096),
    field!(uring_entries_min, Number, at least 1),
    field!(uring_entries_max, Number, at least 1),
    field!(background_max, Number, at least 1),
    field!(notices_max, Number, at least 1),
    field!(clients_max, Number, at least 0),
    field!(sections_bytes_max, Bytes, at least 0),
    field!(pins_wait_ms, Number, at least 0),
    field!(drain_ms, Number, at least 0),
    field!(cancel_ms, Number, at least 0),
];

/// A limit as it was typed: which, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    field: usize,
    value: u64,
}

impl Choice {
    /// Reads `NAME=VALUE`.
    pub(crate) fn parse(typed: &str) -> Result<Choice, String> {
        let (name, value) = typed.split_once('=').unwrap_or((typed, ""));
        let Some(at) = FIELDS.iter().position(|field| field.name == name) else {
            let names = FIELDS.map(|field| field.name).join(", ");
            return Err(format!("there is no limit `{name}`; there are {names}"));
        };
        let field = &FIELDS[at];
        let number = match field.unit {
            Unit::Number => sizes::count(value)?,
            Unit::Bytes => sizes::bytes(value)?,
        };
        if number < field.min {
            return Err(format!("{name} cannot be {number}; give it {} or more", field.min));
        }
        if !(field.set)(&mut Limits::default(), number) {
            return Err(format!("{name} cannot be {number}; that is too large"));
        }
        Ok(Choice { field: at, value: number })
    }
}

/// The default limits with these changes; the last of several for the same limit counts.
pub(crate) fn with(choices: &[Choice]) -> Limits {
    let mut limits = Limits::default();
    for choice in choices {
        let fits = (FIELDS[choice.field].set)(&mut limits, choice.value);
        debug_assert!(fits, "tried by `Choice::parse`");
    }
    limits
}

/// Names and values, as `--limit` takes them.
pub(crate) fn show(limits: &Limits) -> impl Iterator<Item = (&'static str, String)> {
    FIELDS.iter().map(|field| {
        let value = (field.get)(limits);
        let value = match field.unit {
            Unit::Number => value.to_string(),
            Unit::Bytes => sizes::show(value),
        };
        (field.name, value)
    })
}

/// For the help of `wharf mount`.
pub(crate) fn help() -> String {
    let mut text = String::from("Limits and their defaults:\n");
    for (name, value) in show(&Limits::default()) {
        text += &format!("  {name}={value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_name_here() {
        // Fails to compile when a limit is added; then `FIELDS` needs it too.
        let Limits {
            requests_max: _,
            slots_kept: _,
            slot_idle_ms: _,
            payload_bytes_max: _,
            payloads_bytes_max: _,
            uring_entries_min: _,
            uring_entries_max: _,
            background_max: _,
            notices_max: _,
            clients_max: _,
            sections_bytes_max: _,
            pins_wait_ms: _,
            drain_ms: _,
            cancel_ms: _,
        } = Limits::default();
        assert_eq!(FIELDS.len(), 14);
    }

    #[test]
    fn a_limit_that_is_shown_can_be_typed() {
        for (name, value) in show(&Limits::default()) {
            let choice = Choice::parse(&format!("{name}={value}")).expect(name);
            assert_eq!(with(&[choice]), Limits::default(), "{name}");
        }
    }

    #[test]
    fn the_last_of_several_counts() {
        let choices =
            ["requests_max=1", "drain_ms=5", "requests_max=2"].map(|typed| Choice::parse(typed).unwrap());
        let limits = with(&choices);
        assert_eq!((limits.requests_max, limits.drain_ms), (2, 5));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_way_out() {
        for (typed, way_out) in [
            ("requests=5", "there are requests_max, "),
            ("requests_max", "in digits"),
            ("requests_max=0", "1 or more"),
            ("uring_entries_max=70000", "too large"),
            ("payload_bytes_max=4G", "too large"),
            ("payload_bytes_max=1", "4096 or more"),
        ] {
            let error = Choice::parse(typed).expect_err(typed);
            assert!(error.contains(way_out), "{typed}: {error}");
        }
    }
}
