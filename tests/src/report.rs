//! What became of each case or program, and the table that says so.

use std::{fmt, time::Duration};

/// How one case or program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It held.
    Passed,
    /// It did not hold; the sentence says why and where.
    Failed(String),
    /// It was not over at its deadline. Its processes were killed, or could not be.
    Hung(String),
    /// The file system does not claim what it needs.
    Skipped(String),
    /// It was not started, because too many before it had hung.
    NotRun,
}

impl Outcome {
    /// Whether this outcome makes the whole run a failure.
    pub fn is_bad(&self) -> bool {
        !matches!(self, Outcome::Passed | Outcome::Skipped(_))
    }
}

/// One line of a report.
#[derive(Clone, Debug)]
pub struct Line {
    /// The case or program.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What became of all of them, in the order they ran.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was tested, for the headline.
    pub subject: String,
    /// One line for each case or program.
    pub lines: Vec<Line>,
}

impl Report {
    /// The lines that make this run a failure.
    pub fn bad(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.outcome.is_bad())
    }

    /// Panics with the table unless everything held that could run, and something did.
    #[track_caller]
    pub fn expect_clean(&self) {
        let passed = self.lines.iter().any(|line| line.outcome == Outcome::Passed);
        assert!(passed && self.bad().next().is_none(), "{self}");
    }
}

/// The headline and what did not hold. What was skipped is counted, and told in the alternate form.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |want: fn(&Outcome) -> bool| self.lines.iter().filter(|line| want(&line.outcome)).count();
        let took: Duration = self.lines.iter().map(|line| line.took).sum();
        writeln!(
            f,
            "{}: {} passed, {} failed, {} skipped in {:.1} s",
            self.subject,
            count(|outcome| *outcome == Outcome::Passed),
            count(Outcome::is_bad),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
            took.as_secs_f64(),
        )?;
        let wide = f.alternate();
        let shown = |line: &&Line| wide || line.outcome.is_bad();
        let width = self.lines.iter().filter(shown).map(|line| line.name.len()).max().unwrap_or(0);
        for Line { name, outcome, took } in self.lines.iter().filter(shown) {
            let (word, reason) = match outcome {
                Outcome::Passed => ("passed", format!("{} ms", took.as_millis())),
                Outcome::Failed(reason) => ("FAILED", reason.clone()),
                Outcome::Hung(reason) => ("HUNG", reason.clone()),
                Outcome::Skipped(missing) => ("skipped", format!("needs {missing}")),
                Outcome::NotRun => ("NOT RUN", "too many before it hung".to_owned()),
            };
            // Later lines of a reason stay in their column.
            let reason = reason.trim_end().replace('\n', &format!("\n  {:width$}           ", ""));
            writeln!(f, "  {name:width$}  {word:7}  {reason}")?;
        }
        Ok(())
    }
}
