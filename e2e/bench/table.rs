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

/// Which of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the goal is about.
    First,
    /// What it is compared with.
    Second,
}

impl From<Maker> for Side {
    fn from(maker: Maker) -> Side {
        match maker {
            Maker::Ottla => Side::First,
            Maker::Kafka => Side::Second,
        }
    }
}

/// Rows in the order in which they came up.
pub struct Table {
    /// What is compared.
    titles: [&'static str; 2],
    rows: Vec<Row>,
}

impl Default for Table {
    fn default() -> Table {
        Table::of(["Ottla", "Kafka 4.3.1"])
    }
}

struct Row {
    name: &'static str,
    unit: &'static str,
    goal: Goal,
    first: Vec<f64>,
    second: Vec<f64>,
    /// Whose brokers did not keep the rate, once for each such run.
    saturated: Vec<Side>,
    /// What a broker that does nothing reaches.
    ceiling: Vec<f64>,
}

/// Of the ceiling, this share is to be reached where batches are large.
const SHARE: f64 = 0.8;

impl Table {
    /// A table without rows that compares these two.
    pub fn of(titles: [&'static str; 2]) -> Table {
        Table { titles, rows: Vec::new() }
    }

    /// Adds a sample to the row of this name and unit.
    pub fn add(&mut self, name: &'static str, unit: &'static str, goal: Goal, side: impl Into<Side>, value: f64) {
        let row = self.row(name, unit, goal);
        match side.into() {
            Side::First => row.first.push(value),
            Side::Second => row.second.push(value),
        }
    }

    /// Notes a run in which this side's brokers did not keep the rate: the row gives no ratio then.
    pub fn add_saturated(&mut self, name: &'static str, unit: &'static str, goal: Goal, side: impl Into<Side>) {
        self.row(name, unit, goal).saturated.push(side.into());
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
            let (first, second, saturated, ceiling) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            self.rows.push(Row { name, unit, goal, first, second, saturated, ceiling });
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
            let (ours, share) = match Spread::of(&row.first) {
                Some(ours) => (number(ours.median), number(ours.median / ceiling.median)),
                None => ("–".to_owned(), "–".to_owned()),
            };
            let goal = if row.unit == "MB/s" { format!("≥ {SHARE}") } else { String::new() };
            writeln!(f, "| {} | {} | {ours} | {} | {share} | {goal} |", row.name, row.unit, number(ceiling.median))?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let uname = rustix::system::uname();
        let kernel = uname.release().to_string_lossy();
        writeln!(f, "{cores} cores shared by brokers and client; Linux {kernel}; medians.\n")?;
        let [first, second] = self.titles;
        writeln!(f, "| workload | measured | {first} | {second} | ratio (from–to) | goal | met |")?;
        writeln!(f, "|---|---|--:|--:|--:|--:|---|")?;
        let is_compared = |row: &&Row| !(row.first.is_empty() && row.second.is_empty() && row.saturated.is_empty());
        let mut compared = self.rows.iter().filter(is_compared);
        compared.try_for_each(|row| writeln!(f, "{row}"))?;
        self.write_ceilings(f)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, unit, goal, first, second, saturated, ceiling: _ } = self;
        let cell = |side: Side, samples: &[f64]| {
            let saturated = saturated.iter().filter(|of| **of == side).count();
            match (saturated, Spread::of(samples)) {
                (0, None) => "–".to_owned(),
                (0, Some(spread)) => number(spread.median),
                (_, None) => "saturated".to_owned(),
                (saturated, _) => format!("saturated in {saturated} of {} runs", saturated + samples.len()),
            }
        };
        let pairs = first.iter().zip(second).filter(|_| saturated.is_empty());
        let ratios: Vec<f64> = pairs.map(|(first, second)| first / second).collect();
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
        let met = if saturated.contains(&Side::First) && !goal.is_empty() { "no" } else { met };
        let (first, second) = (cell(Side::First, first), cell(Side::Second, second));
        write!(f, "| {name} | {unit} | {first} | {second} | {shown} | {goal} | {met} |")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maker_that_does_not_keep_the_rate_is_called_saturated_and_not_compared() {
        const NAME: &str = "open loop";
        let row = |ours: &[Option<f64>], kafkas: &[Option<f64>]| {
            let mut table = Table::default();
            for (maker, samples) in [(Maker::Ottla, ours), (Maker::Kafka, kafkas)] {
                for sample in samples {
                    match sample {
                        Some(value) => table.add(NAME, "p99.9 ms", Goal::AtMost(0.3), maker, *value),
                        None => table.add_saturated(NAME, "p99.9 ms", Goal::AtMost(0.3), maker),
                    }
                }
            }
            let shown = table.to_string();
            shown.lines().find(|line| line.starts_with("| open loop")).unwrap_or_default().to_owned()
        };
        let well = [Some(1.0), Some(2.0)];
        for (ours, kafkas, expected) in [
            (&well[..], &[Some(10.0), Some(10.0)][..], "2.00 | 10.0 | 0.200× (0.100–0.200) | ≤ 0.3× | yes"),
            (&well, &[None, None], "2.00 | saturated | – | ≤ 0.3× | "),
            (&well, &[Some(10.0), None], "2.00 | saturated in 1 of 2 runs | – | ≤ 0.3× | "),
            (&[None, None], &well, "saturated | 2.00 | – | ≤ 0.3× | no"),
            (&[None], &[None], "saturated | saturated | – | ≤ 0.3× | no"),
            (&well, &[], "2.00 | – | – | ≤ 0.3× | "),
        ] {
            assert_eq!(row(ours, kafkas), format!("| open loop | p99.9 ms | {expected} |"));
        }
    }
}
