//! Names that people read on pages: invisible characters, and those that reverse text, are refused.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointMapData, props::GeneralCategory};

/// Maximum characters of a name.
pub const MAX_NAME_CHARS: usize = 100;
/// Invisible characters that Unicode classifies as letters or symbols.
const INVISIBLE: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// The name as it is stored: trimmed and composed (NFC), so that what looks the same is the same. [`None`] for one that
/// is empty or too long, or has invisible characters: controls, format characters (which can reverse text, as
/// U+202E does), line and paragraph separators, private and unassigned ones.
pub fn normalize_name(text: &str) -> Option<String> {
    let name = ComposingNormalizerBorrowed::new_nfc().normalize(text.trim()).into_owned();
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && name.chars().all(is_visible);
    fits.then_some(name)
}

fn is_visible(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    let shapeless = [Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned];
    !shapeless.contains(&CodePointMapData::<GeneralCategory>::new().get(c)) && !INVISIBLE.contains(&c)
}

/// IANA's time zone names, one per line.
const TIME_ZONES: &str = include_str!("zones.txt");

/// Whether this is a time zone's name.
pub fn is_time_zone(text: &str) -> bool {
    !text.is_empty() && TIME_ZONES.lines().any(|zone| zone == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_what_it_is() {
        for (what, text, stored) in [
            ("letters of many scripts", "Café Größe 茶馆 Чай", Some("Café Größe 茶馆 Чай")),
            ("blanks around it", "  Tea house ", Some("Tea house")),
            ("an accent of its own is composed", "Cafe\u{301}", Some("Café")),
            ("a picture", "Tea 🍵", Some("Tea 🍵")),
            ("nothing", "  ", None),
            ("a bell", "Tea\u{7}", None),
            ("a line break", "Tea\nhouse", None),
            ("text turned around", "Tea\u{202e}esuoh", None),
            ("an isolate", "Tea\u{2066}", None),
            ("a mark from right to left", "Tea\u{200f}", None),
            ("a blank without width", "Tea\u{200b}house", None),
            ("a soft hyphen", "Tea\u{ad}house", None),
            ("a byte order mark", "\u{feff}Tea", None),
            ("a line separator", "Tea\u{2028}house", None),
            ("a paragraph separator", "Tea\u{2029}house", None),
            ("a private character", "Tea\u{e000}", None),
            ("an unassigned one", "Tea\u{378}", None),
            ("a tag", "Tea\u{e0041}", None),
            ("a letter that nothing shows", "Tea\u{3164}", None),
        ] {
            assert_eq!(normalize_name(text).as_deref(), stored, "{what}");
        }
        assert!(normalize_name(&"茶".repeat(100)).is_some() && normalize_name(&"茶".repeat(101)).is_none());
    }

    #[test]
    fn time_zones_are_ianas() {
        for zone in ["Asia/Shanghai", "Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"] {
            assert!(is_time_zone(zone), "{zone}");
        }
        for zone in ["", "Shanghai", "asia/shanghai", "UTC+8", "Asia/Shanghai\n", "Asia/"] {
            assert!(!is_time_zone(zone), "{zone}");
        }
    }
}
