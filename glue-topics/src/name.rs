//! Names, checked once and cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The type that goes with every other: the reference's bridge to MQTT publishes and subscribes with it.
pub const BRIDGE_TYPE: &str = "__mqtt_to_glue_bridge__";

/// The name of a topic: 1 or more bytes of UTF-8 without control characters and wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// The type of a topic's messages: UTF-8 without control characters, empty for "untyped".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeName(Arc<str>);

/// The name of an endpoint, as discovery learned it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointName(Arc<str>);

impl TopicName {
    /// Checks a topic's name of at most `limit` bytes.
    ///
    /// # Errors
    /// [`NameError`] tells what is wrong, and where.
    pub fn new(text: &str, limit: usize) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        check_text(text, limit)?;
        match text.char_indices().find(|(_, c)| matches!(c, '#' | '+')) {
            Some((at, character)) => Err(NameError::Wildcard { at, character }),
            None => Ok(Self(text.into())),
        }
    }

    /// The topic that a filter without wildcards names.
    pub(crate) fn of_filter(filter: &crate::filter::Filter) -> Self {
        Self(Arc::clone(&filter.0))
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name that a classic peer gave: its messages may bear any.
    pub(crate) fn foreign(text: &str, limit: usize) -> Option<Self> {
        (1..=limit).contains(&text.len()).then(|| Self(text.into()))
    }
}

impl TypeName {
    /// Checks a type's name of at most `limit` bytes.
    ///
    /// # Errors
    /// [`NameError`] tells what is wrong, and where.
    pub fn new(text: &str, limit: usize) -> Result<Self, NameError> {
        check_text(text, limit)?;
        Ok(Self(text.into()))
    }

    /// A type's name as it arrived; `None`: it is none.
    pub(crate) fn read(bytes: &[u8], limit: usize) -> Option<Self> {
        Self::new(std::str::from_utf8(bytes).ok()?, limit).ok()
    }

    pub(crate) fn foreign(text: &str, limit: usize) -> Option<Self> {
        (text.len() <= limit).then(|| Self(text.into()))
    }

    /// The type of a subscription that takes every type.
    pub(crate) fn any() -> Self {
        Self("".into())
    }

    /// Whether it says nothing of a publication's type.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_empty() || self.is_bridge()
    }

    pub(crate) fn is_bridge(&self) -> bool {
        &*self.0 == BRIDGE_TYPE
    }

    /// Whether a subscription of this type takes messages of type `given`.
    pub(crate) fn takes(&self, given: &Self) -> bool {
        self.is_open() || self == given || given.is_bridge()
    }
}

impl EndpointName {
    /// The name `text`, unchecked: discovery decides which names there are.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A control character, which logs and terminals would choke on.
    #[error("character {character:?} at byte {at} is a control character")]
    Control {
        /// Byte offset.
        at: usize,
        /// The character.
        character: char,
    },
    /// A topic needs a name.
    #[error("it is empty")]
    Empty,
    /// Longer than the limit of [`crate::Config`].
    #[error("it has {len} bytes, more than {limit}")]
    TooLong {
        /// Bytes of the name.
        len: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// A wildcard of a filter that does not fill its level, or `#` before the end, see [`crate::Filter`].
    #[error("wildcard {character:?} at byte {at} is out of place: \"+\" fills a level, and \"#\" the last one")]
    Misplaced {
        /// Byte offset.
        at: usize,
        /// The character.
        character: char,
    },
    /// A filter that a group shares, where one that is not shared is wanted, see [`crate::Share`].
    #[error("it begins with \"$share/\": filters that a group shares are not subscribed this way")]
    Shared,
    /// A shared filter without a group, or without a filter.
    #[error("something is missing at byte {at}: a shared filter is \"$share/<group>/<filter>\"")]
    Unshared {
        /// Byte offset of what is missing.
        at: usize,
    },
    /// `+` and `#` are for the filters of subscriptions, not for names of topics and groups.
    #[error("character {character:?} at byte {at} is a wildcard, which is for filters only")]
    Wildcard {
        /// Byte offset.
        at: usize,
        /// The character.
        character: char,
    },
}

impl NameError {
    /// The same, in a text that begins `by` bytes earlier.
    pub(crate) const fn moved(self, by: usize) -> Self {
        match self {
            Self::Control { at, character } => Self::Control { at: at + by, character },
            Self::Misplaced { at, character } => Self::Misplaced { at: at + by, character },
            Self::Unshared { at } => Self::Unshared { at: at + by },
            Self::Wildcard { at, character } => Self::Wildcard { at: at + by, character },
            Self::Empty | Self::Shared | Self::TooLong { .. } => self,
        }
    }
}

pub(crate) fn check_text(text: &str, limit: usize) -> Result<(), NameError> {
    if text.len() > limit {
        return Err(NameError::TooLong { len: text.len(), limit });
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, character)) => Err(NameError::Control { at, character }),
        None => Ok(()),
    }
}

/// A name reads like the text that it is.
macro_rules! reads_as_text {
    ($($name:ident),*) => {$(
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

pub(crate) use reads_as_text;

reads_as_text!(EndpointName, TopicName, TypeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_tells_what_is_wrong_and_where() {
        let error = |text| TopicName::new(text, 8).unwrap_err();
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error("123456789"), NameError::TooLong { len: 9, limit: 8 });
        assert_eq!(error("é/#"), NameError::Wildcard { at: 3, character: '#' });
        assert_eq!(error("a/+/b"), NameError::Wildcard { at: 2, character: '+' });
        assert_eq!(error("a\nb").to_string(), "character '\\n' at byte 1 is a control character");
        assert_eq!(TypeName::new("\0", 8), Err(NameError::Control { at: 0, character: '\0' }));
    }

    #[test]
    fn a_good_name_reads_as_text() {
        let topic = TopicName::new("room/7", 8).unwrap();
        assert_eq!(topic, "room/7");
        assert_eq!(format!("{topic:>8}|{topic:?}"), "  room/7|\"room/7\"");
        assert_eq!(TypeName::new("", 8).unwrap(), TypeName::any());
    }

    #[test]
    fn types_fit_when_equal_open_or_bridged() {
        let name = |text| TypeName::new(text, 64).unwrap();
        assert!(name("json").takes(&name("json")));
        assert!(!name("json").takes(&name("text")));
        assert!(!name("json").takes(&name("")));
        assert!(name("").takes(&name("text")));
        assert!(name(BRIDGE_TYPE).takes(&name("text")));
        assert!(name("json").takes(&name(BRIDGE_TYPE)));
    }
}
