//! How a subscriber of the demonstration did.

use crate::tally::Counts;

#[derive(Debug, Default)]
pub(super) struct Score {
    /// Peers that it found.
    pub(super) found: usize,
    /// Its own account, at its end.
    pub(super) summary: Option<Counts>,
    received: u64,
    ages_us: Vec<u64>,
}

impl Score {
    pub(super) const HEADING: &str =
        "subscriber    received   lost  duplicates  out of order  median age  99th percentile";

    /// Counts a message of this age.
    pub(super) fn add(&mut self, age_us: Option<u64>) {
        self.received += 1;
        self.ages_us.extend(age_us);
    }

    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// A line below [`Self::HEADING`].
    pub(super) fn row(&self, name: &str) -> String {
        let Counts { received, lost, duplicates, out_of_order } = self.summary.unwrap_or_default();
        let [median, p99] = [self.age_us(50), self.age_us(99)];
        format!("{name:12}  {received:8}  {lost:5}  {duplicates:10}  {out_of_order:12}  {median:7} us  {p99:12} us")
    }

    /// The age that so many percent of the messages do not exceed.
    fn age_us(&self, percent: usize) -> u64 {
        let mut ages = self.ages_us.clone();
        ages.sort_unstable();
        let index = (ages.len() * percent).div_ceil(100).saturating_sub(1);
        ages.get(index).copied().unwrap_or(0)
    }
}

/// What is wrong, if not every subscriber got the same messages, each once and in order.
pub(super) fn judge(scores: &[Score]) -> Result<(), String> {
    let most = scores.iter().map(Score::received).max().unwrap_or(0);
    if most == 0 {
        return Err("no messages were received".to_owned());
    }
    for score in scores {
        let flawless = Counts { received: most, ..Counts::default() };
        if score.received != most || score.summary != Some(flawless) {
            return Err("not every subscriber received every message once and in order".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(printed: u64, received: u64, lost: u64, duplicates: u64, out_of_order: u64) -> Score {
        let summary = Some(Counts { received, lost, duplicates, out_of_order });
        let mut score = Score { summary, ..Score::default() };
        (0..printed).for_each(|n| score.add(Some(n + 1)));
        score
    }

    #[test]
    fn the_same_for_all_is_good() {
        assert_eq!(judge(&[score(5, 5, 0, 0, 0), score(5, 5, 0, 0, 0)]), Ok(()));
    }

    #[test]
    fn any_flaw_shows() {
        assert!(judge(&[]).is_err());
        assert!(judge(&[score(0, 0, 0, 0, 0), score(0, 0, 0, 0, 0)]).is_err());
        for flawed in [
            score(4, 4, 0, 0, 0),
            score(5, 4, 0, 0, 0),
            score(5, 5, 1, 0, 0),
            score(5, 5, 0, 1, 0),
            score(5, 5, 0, 0, 1),
            Score { summary: None, ..score(5, 5, 0, 0, 0) },
        ] {
            assert!(judge(&[score(5, 5, 0, 0, 0), flawed]).is_err());
        }
    }

    #[test]
    fn ages_are_ranked() {
        let score = score(200, 200, 0, 0, 0);
        assert_eq!([score.age_us(50), score.age_us(99), score.age_us(100)], [100, 198, 200]);
        assert_eq!(Score::default().age_us(50), 0);
    }

    #[test]
    fn a_row_is_as_wide_as_the_heading() {
        assert_eq!(score(5, 5, 0, 0, 0).row("subscriber-1").len(), Score::HEADING.len());
    }
}
