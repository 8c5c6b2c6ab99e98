//! The texts of pages. Each has both languages side by side, so that the compiler finds a missing one.

pub mod bind;

/// A language that pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// Simplified Chinese.
    Zh,
    /// English.
    En,
}

impl Lang {
    /// The language that a browser's `Accept-Language` prefers; English where it names neither.
    #[must_use]
    pub fn from_accept_language(accept_language: &str) -> Self {
        let mut best = (0.0, Self::En);
        for wish in accept_language.split(',') {
            let (tag, q) = wish.split_once(";q=").unwrap_or((wish, "1"));
            let lang = match tag.trim().get(..2).map(str::to_ascii_lowercase).as_deref() {
                Some("zh") => Self::Zh,
                Some("en") => Self::En,
                _ => continue,
            };
            let q: f32 = q.trim().parse().unwrap_or(0.0);
            if q > best.0 {
                best = (q, lang);
            }
        }
        best.1
    }

    /// For `<html lang>`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        self.pick("zh-Hans", "en")
    }

    /// Returns the value for this language.
    #[must_use]
    pub fn pick<T>(self, zh: T, en: T) -> T {
        match self {
            Self::Zh => zh,
            Self::En => en,
        }
    }
}

/// A fixed text.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    zh: &'static str,
    en: &'static str,
}

impl Text {
    /// The text in `lang`.
    #[must_use]
    pub const fn in_language(self, lang: Lang) -> &'static str {
        match lang {
            Lang::Zh => self.zh,
            Lang::En => self.en,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_spoken_to_in_the_language_it_likes_best() {
        for (accepts, lang) in [
            ("", Lang::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("en-GB,en;q=0.9,zh;q=0.1", Lang::En),
            ("de-DE,de;q=0.9,zh-TW;q=0.8,en;q=0.7", Lang::Zh),
            ("en;q=0.3, zh-Hans;q=0.4", Lang::Zh),
            ("fr", Lang::En),
            ("*", Lang::En),
            ("ZH", Lang::Zh),
            ("zh;q=0, en;q=0.1", Lang::En),
            ("zh;q=odd", Lang::En),
            ("z\u{df}", Lang::En),
        ] {
            assert_eq!(Lang::from_accept_language(accepts), lang, "{accepts}");
        }
    }
}
