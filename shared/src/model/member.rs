//! How a member of a push becomes a field. Reading never fails: a real push
//! may lack any member, and WeChat shows its sender an error if we reject it.

use crate::envelope::element::Element;

/// A type that a field can have.
pub trait FromMember: Sized {
    /// Reads the member at `path`, whose steps are separated by `/`.
    fn read(from: &Element<'_>, path: &str) -> Self;
}

/// A type that is read from an element's children.
pub trait FromMembers: Sized {
    /// Reads all its fields.
    fn read_all(from: &Element<'_>) -> Self;
}

fn text<'t>(from: &'t Element<'_>, path: &str) -> Option<&'t str> {
    match path.split_once('/') {
        None => from.text_of(path),
        Some((first, rest)) => text(from.child(first)?, rest),
    }
}

fn siblings<'t, 'a>(from: &'t Element<'a>, path: &'t str) -> Vec<&'t Element<'a>> {
    match path.split_once('/') {
        None => from.children.iter().filter(|child| child.name.eq_ignore_ascii_case(path)).collect(),
        Some((first, rest)) => from.child(first).map_or_else(Vec::new, |child| siblings(child, rest)),
    }
}

impl FromMember for String {
    fn read(from: &Element<'_>, path: &str) -> Self {
        text(from, path).unwrap_or_default().to_owned()
    }
}

impl FromMember for Option<String> {
    fn read(from: &Element<'_>, path: &str) -> Self {
        text(from, path).map(str::to_owned)
    }
}

impl FromMember for i64 {
    fn read(from: &Element<'_>, path: &str) -> Self {
        text(from, path).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

impl FromMember for u64 {
    fn read(from: &Element<'_>, path: &str) -> Self {
        text(from, path).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

impl FromMember for f64 {
    fn read(from: &Element<'_>, path: &str) -> Self {
        text(from, path)
            .and_then(|text| text.parse().ok())
            .filter(|number: &f64| number.is_finite())
            .unwrap_or_default()
    }
}

impl FromMember for bool {
    fn read(from: &Element<'_>, path: &str) -> Self {
        text(from, path).is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"))
    }
}

/// A text that repeats, such as `fail_idx`.
impl FromMember for Vec<String> {
    fn read(from: &Element<'_>, path: &str) -> Self {
        siblings(from, path).iter().map(|one| one.text.to_string()).filter(|text| !text.is_empty()).collect()
    }
}

/// A branch that repeats, such as `List` or `item`.
impl<T: FromMembers> FromMember for Vec<T> {
    fn read(from: &Element<'_>, path: &str) -> Self {
        siblings(from, path).into_iter().filter(|one| !one.children.is_empty()).map(T::read_all).collect()
    }
}

/// A struct whose fields say what WeChat calls them.
macro_rules! members {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty = $path:literal, )* } )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $name {
                $( #[doc = concat!("`", $path, "`.")] $(#[$field_meta])* pub $field: $type, )*
            }

            impl $crate::model::member::FromMembers for $name {
                fn read_all(from: &$crate::envelope::element::Element<'_>) -> Self {
                    Self { $( $field: $crate::model::member::FromMember::read(from, $path), )* }
                }
            }
        )*
    };
}
pub(crate) use members;
