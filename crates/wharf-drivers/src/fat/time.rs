//! Times as FAT keeps them: of a place's clock, from 1980 to 2107, in steps of two seconds.

use wharf::Time;

const DAY: i64 = 86_400;
/// 1 January 1980, in days since 1970.
const FIRST_DAY: i64 = 3652;

/// A date and a time of day, in the two words of a directory entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: u16,
    pub(super) time: u16,
}

/// How far the clock that FAT's times are of is ahead of UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    pub(super) minutes_east: i16,
}

impl Zone {
    fn seconds(self) -> i64 {
        i64::from(self.minutes_east) * 60
    }

    /// The nearest time before that FAT can keep, and hundredths of a second beyond it (below 200).
    pub(super) fn stamp(self, time: Time) -> (Stamp, u8) {
        let local = time.seconds.saturating_add(self.seconds());
        let day = local.div_euclid(DAY);
        let (year, month, month_day) = civil(day.max(FIRST_DAY));
        if day < FIRST_DAY {
            return (Stamp { date: 1 << 5 | 1, time: 0 }, 0);
        }
        if year > 2107 {
            return (Stamp { date: 127 << 9 | 12 << 5 | 31, time: 23 << 11 | 59 << 5 | 29 }, 199);
        }
        let second = local.rem_euclid(DAY);
        let date = ((year - 1980) << 9 | month << 5 | month_day) as u16;
        let clock = ((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2);
        let hundredths = second % 2 * 100 + i64::from(time.nanoseconds / 10_000_000);
        (Stamp { date, time: clock as u16 }, hundredths as u8)
    }

    /// The time that a stamp means. A stamp that means none is the first day that FAT knows.
    pub(super) fn time(self, stamp: Stamp, hundredths: u8) -> Time {
        let (year, month, day) = (1980 + i64::from(stamp.date >> 9), stamp.date >> 5 & 15, stamp.date & 31);
        let days = if (1..=12).contains(&month) && day > 0 {
            days(year, month.into(), day.into())
        } else {
            FIRST_DAY
        };
        let (hour, minute, second) = (stamp.time >> 11, stamp.time >> 5 & 63, (stamp.time & 31) * 2);
        let clock =
            i64::from(hour.min(23)) * 3600 + i64::from(minute.min(59)) * 60 + i64::from(second.min(58));
        let hundredths = i64::from(hundredths.min(199));
        Time {
            seconds: days * DAY + clock - self.seconds() + hundredths / 100,
            nanoseconds: (hundredths % 100) as u32 * 10_000_000,
        }
    }
}

/// Year, month and day of a day since 1970, by the Gregorian calendar. Counted in years that begin in March,
/// so that the odd day comes last.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let month_day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, month_day)
}

/// The other way round.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_reverse() {
        assert_eq!(civil(FIRST_DAY), (1980, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        for day in FIRST_DAY..FIRST_DAY + 128 * 366 {
            let (year, month, month_day) = civil(day);
            assert_eq!(days(year, month, month_day), day);
        }
    }

    #[test]
    fn a_time_loses_what_fat_cannot_keep_and_no_more() {
        for minutes_east in [0, 120, -570] {
            let zone = Zone { minutes_east };
            for seconds in [1_000_000_000, 1_700_000_001, 4_102_444_799] {
                let time = Time { seconds, nanoseconds: 123_456_789 };
                let (stamp, hundredths) = zone.stamp(time);
                let kept = Time { nanoseconds: 120_000_000, ..time };
                assert_eq!(zone.time(stamp, hundredths), kept);
                let coarse = Time { seconds: seconds - (seconds & 1), nanoseconds: 0 };
                assert_eq!(zone.time(stamp, 0), coarse);
            }
        }
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        let zone = Zone { minutes_east: 0 };
        let end = |seconds| zone.time(zone.stamp(Time { seconds, nanoseconds: 0 }).0, 0).seconds;
        assert_eq!(end(0), 315_532_800);
        assert_eq!(end(i64::MIN), 315_532_800);
        assert_eq!(end(i64::MAX), 4_354_819_198);
        assert_eq!(zone.time(Stamp { date: 0, time: 0xFFFF }, 255).seconds / DAY, FIRST_DAY);
    }
}
