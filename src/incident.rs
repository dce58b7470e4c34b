//! Rare events that matter to people who look after many machines. Each has its
//! own log target, which determines the message id in the journal.

/// A kind of line that can be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The target of its log lines, `affectd::` and its name.
    pub target: &'static str,
    /// Its `MESSAGE_ID` in the journal, a random UUID.
    pub message_id: &'static str,
}

/// A camera delivers no frames.
pub const CAMERA_LOST: Incident = Incident {
    target: "affectd::camera_lost",
    message_id: "1ef9458de75e48d1ac2c7e4d11912a0e",
};

/// It delivers frames again, or for the first time.
pub const CAMERA_BACK: Incident = Incident {
    target: "affectd::camera_back",
    message_id: "663183fd447642a3b11d86118c5b0b7f",
};

/// A display does not answer.
pub const DISPLAY_LOST: Incident = Incident {
    target: "affectd::display_lost",
    message_id: "d58081803705471f9a718df9e762cf1e",
};

/// It answers again.
pub const DISPLAY_BACK: Incident = Incident {
    target: "affectd::display_back",
    message_id: "8b237eb0d93c4df99cb38c62f37365d7",
};

/// The board file was read again, and is in force or refused.
pub const RELOAD: Incident = Incident {
    target: "affectd::reload",
    message_id: "aa75dbdff44e4f9082fdba50f7da65e0",
};

/// The machine has become too hot, or cool again.
pub const TOO_HOT: Incident = Incident {
    target: "affectd::too_hot",
    message_id: "dec34036a77a4732bd4227622709c49a",
};

/// A pause has begun or ended.
pub const PAUSE: Incident = Incident {
    target: "affectd::pause",
    message_id: "41aa321248a04effa7489ea592fff7b0",
};

/// Somebody watches the preview, or nobody does any more.
pub const PREVIEW: Incident = Incident {
    target: "affectd::preview",
    message_id: "8a2b9329b21e4646aabb1a66d7a0b95d",
};

/// All of them.
pub const ALL: [Incident; 8] = [
    CAMERA_LOST,
    CAMERA_BACK,
    DISPLAY_LOST,
    DISPLAY_BACK,
    RELOAD,
    TOO_HOT,
    PAUSE,
    PREVIEW,
];

/// The incident that a log line with this target reports.
#[must_use]
pub fn of_target(target: &str) -> Option<Incident> {
    ALL.into_iter().find(|incident| incident.target == target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_128_bits_and_differ() {
        for (index, incident) in ALL.iter().enumerate() {
            let id = incident.message_id;
            assert_eq!(id.len(), 32, "{id}");
            assert!(
                id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
                "{id}"
            );
            assert!(incident.target.starts_with("affectd::"));
            for other in &ALL[..index] {
                assert_ne!(incident.message_id, other.message_id);
                assert_ne!(incident.target, other.target);
            }
            assert_eq!(of_target(incident.target), Some(*incident));
        }
        assert_eq!(of_target("affectd::capture"), None);
    }

    #[test]
    fn the_documentation_has_all_of_them() {
        let text = include_str!("../docs/control.md");
        for incident in ALL {
            let name = incident.target.trim_start_matches("affectd::");
            let row = format!("| `{name}` | `{}` |", incident.message_id);
            assert!(text.contains(&row), "docs/control.md lacks {row}");
        }
    }
}
