//! From samples to a table in Markdown.

use ottla_e2e::target::Maker;
use std::fmt;

/// What ours divided by Kafka's is to be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// No goal of its own.
    None,
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

/// Rows in the order in which they came up.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    unit: &'static str,
    goal: Goal,
    ours: Vec<f64>,
    kafkas: Vec<f64>,
    /// What a broker that does nothing reaches.
    ceiling: Vec<f64>,
}

/// Of the ceiling, this share is to be reached where batches are large.
const SHARE: f64 = 0.8;

impl Table {
    /// Adds a sample to the row of this name and unit.
    pub fn add(&mut self, name: &'static str, unit: &'static str, goal: Goal, maker: Maker, value: f64) {
        let row = self.row(name, unit, goal);
        match maker {
            Maker::Ottla => row.ours.push(value),
            Maker::Kafka => row.kafkas.push(value),
        }
    }
}

impl Table {
    /// Adds a sample of the null broker to the row of this name and unit.
    pub fn add_ceiling(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.row(name, unit, Goal::None).ceiling.push(value);
    }

    fn row(&mut self, name: &'static str, unit: &'static str, goal: Goal) -> &mut Row {
        let known = self.rows.iter().position(|row| (row.name, row.unit) == (name, unit));
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { name, unit, goal, ours: Vec::new(), kafkas: Vec::new(), ceiling: Vec::new() });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    fn write_ceilings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut begun = false;
        for row in &self.rows {
            let Some(ceiling) = Spread::of(&row.ceiling) else { continue };
            if !begun {
                writeln!(f, "\n| workload | measured | Ottla | null broker | share | goal |")?;
                writeln!(f, "|---|---|--:|--:|--:|--:|")?;
                begun = true;
            }
            let (ours, share) = match Spread::of(&row.ours) {
                Some(ours) => (number(ours.median), number(ours.median / ceiling.median)),
                None => ("–".to_owned(), "–".to_owned()),
            };
            writeln!(f, "| {} | {} | {ours} | {} | {share} | ≥ {SHARE} |", row.name, row.unit, number(ceiling.median))?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let uname = rustix::system::uname();
        let kernel = uname.release().to_string_lossy();
        writeln!(f, "{cores} cores shared by brokers and client; Linux {kernel}; medians of pairs.\n")?;
        writeln!(f, "| workload | measured | Ottla | Kafka 4.3.1 | ratio (from–to) | goal | met |")?;
        writeln!(f, "|---|---|--:|--:|--:|--:|---|")?;
        let mut compared = self.rows.iter().filter(|row| !row.ours.is_empty() || !row.kafkas.is_empty());
        compared.try_for_each(|row| writeln!(f, "{row}"))?;
        self.write_ceilings(f)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, unit, goal, ours, kafkas, ceiling: _ } = self;
        let cell = |samples: &[f64]| Spread::of(samples).map_or("–".to_owned(), |spread| number(spread.median));
        let ratios: Vec<f64> = ours.iter().zip(kafkas).map(|(ours, kafkas)| ours / kafkas).collect();
        let ratio = Spread::of(&ratios);
        let shown = match &ratio {
            None => "–".to_owned(),
            Some(Spread { least, median, most }) => {
                format!("{}× ({}–{})", number(*median), number(*least), number(*most))
            }
        };
        let (goal, met) = match (goal, ratio) {
            (Goal::None, _) => (String::new(), ""),
            (Goal::AtLeast(limit), ratio) => (format!("≥ {limit}×"), verdict(ratio, |median| median >= *limit)),
            (Goal::AtMost(limit), ratio) => (format!("≤ {limit}×"), verdict(ratio, |median| median <= *limit)),
        };
        write!(f, "| {name} | {unit} | {} | {} | {shown} | {goal} | {met} |", cell(ours), cell(kafkas))
    }
}

fn verdict(ratio: Option<Spread>, met: impl Fn(f64) -> bool) -> &'static str {
    match ratio {
        None => "",
        Some(spread) if met(spread.median) => "yes",
        Some(_) => "no",
    }
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(samples: &[f64]) -> Option<Spread> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        Some(Spread { least, median: sorted[sorted.len() / 2], most })
    }
}

/// Three figures say all that such a measurement knows.
fn number(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}
