//! What was typed.

use wharf_benches::works;

use crate::Result;
use crate::places::Places;
use crate::servers::{Kind, SERVERS, Server};

const USAGE: &str = "usage: compare [--rounds N] [--seconds S] [--only WORK,…] [--servers NAME,…] [--calm PART] \
                     [--patience S] [--tries N] [--no-idle]";

pub struct Options {
    pub rounds: usize,
    pub seconds: f64,
    /// A sample counts as calm while others used no more than this part of the machine.
    pub calm: f64,
    /// Seconds to wait for a calm moment before a sample.
    pub patience: f64,
    /// How often a sample that was not calm is taken again.
    pub tries: usize,
    pub idle: bool,
    only: Vec<String>,
    servers: Vec<String>,
    pub places: Places,
}

impl Options {
    pub fn parse() -> Result<Self> {
        let mut options = Self {
            rounds: 5,
            seconds: 1.0,
            calm: 0.1,
            patience: 4.0,
            tries: 3,
            idle: true,
            only: Vec::new(),
            servers: Vec::new(),
            places: Places::of_this_build()?,
        };
        let mut given = std::env::args().skip(1);
        while let Some(word) = given.next() {
            if word == "--no-idle" {
                options.idle = false;
                continue;
            }
            let value = given.next().ok_or(USAGE)?;
            let list = || value.split(',').map(str::to_owned).collect();
            match word.as_str() {
                "--rounds" => options.rounds = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--calm" => options.calm = value.parse()?,
                "--patience" => options.patience = value.parse()?,
                "--tries" => options.tries = value.parse()?,
                "--only" => options.only = list(),
                "--servers" => options.servers = list(),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    pub fn wants_work(&self, name: &str) -> bool {
        let known = || works::WORKS.iter().map(|work| work.name);
        self.only.is_empty() || self.only.iter().any(|word| means(word, name, known()))
    }

    pub fn wants_server(&self, server: &Server) -> bool {
        let known = || SERVERS.iter().map(|server| server.name);
        if self.servers.is_empty() {
            return server.kind != Kind::Extra;
        }
        self.servers.iter().any(|word| means(word, server.name, known()))
    }
}

/// A name in full means that one; a part means all that begin with it.
fn means(word: &str, name: &str, mut known: impl Iterator<Item = &'static str>) -> bool {
    if known.any(|known| known == word) { name == word } else { name.starts_with(word) }
}
