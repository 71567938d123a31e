//! What a complete control sequence means, where it is a key or the mouse. Everything else
//! that a terminal sends of its own accord (positions, attributes, modes, sizes) means nothing.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

/// A press of a key.
pub(super) fn press(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

/// A character, and which modifiers a control character stands for.
pub(super) fn character(c: char) -> Event {
    let (code, modifiers) = match c {
        '\r' => (KeyCode::Enter, KeyModifiers::NONE),
        '\t' => (KeyCode::Tab, KeyModifiers::NONE),
        '\u{7f}' => (KeyCode::Backspace, KeyModifiers::NONE),
        '\0' => (KeyCode::Char(' '), KeyModifiers::CONTROL),
        '\u{1}'..='\u{1a}' => (KeyCode::Char(shifted(c, b'a' - 1)), KeyModifiers::CONTROL),
        '\u{1c}'..='\u{1f}' => (
            KeyCode::Char(shifted(c, b'4' - 0x1c)),
            KeyModifiers::CONTROL,
        ),
        c if c.is_uppercase() => (KeyCode::Char(c), KeyModifiers::SHIFT),
        c => (KeyCode::Char(c), KeyModifiers::NONE),
    };
    press(code, modifiers)
}

fn shifted(c: char, by: u8) -> char {
    char::from((c as u8).saturating_add(by))
}

/// What `ESC O` and this letter are.
pub(super) fn ss3(letter: u8) -> Option<Event> {
    let code = match letter {
        b'P'..=b'S' => KeyCode::F(letter - b'P' + 1),
        b'M' => KeyCode::Enter,
        letter => cursor(letter)?,
    };
    Some(press(code, KeyModifiers::NONE))
}

/// What `ESC [ [` and this letter are: function keys of the kernel's console.
pub(super) fn console(letter: u8) -> Option<Event> {
    let code = matches!(letter, b'A'..=b'E').then(|| KeyCode::F(letter - b'A' + 1))?;
    Some(press(code, KeyModifiers::NONE))
}

fn cursor(letter: u8) -> Option<KeyCode> {
    Some(match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        _ => return None,
    })
}

/// What `CSI`, these parameters and this last byte are.
pub(super) fn csi(parameters: &[u8], last: u8) -> Option<Event> {
    let text = std::str::from_utf8(parameters).ok()?;
    match last {
        b'M' | b'm' => {
            if let Some(report) = text.strip_prefix('<') {
                return mouse(report, 0, last == b'm');
            }
            // As before SGR: the button is reported with 32 added, the release as a button.
            (last == b'M').then(|| mouse(text, 32, false)).flatten()
        }
        b'A' | b'B' | b'C' | b'D' | b'F' | b'H' | b'P' | b'Q' | b'S' => {
            let code = cursor(last).unwrap_or(KeyCode::F(last.wrapping_sub(b'P') + 1));
            let mut fields = text.split(';');
            if !matches!(fields.next(), Some("" | "1")) {
                return None;
            }
            modified(code, fields.next(), fields.next())
        }
        b'Z' => (text.is_empty() || text.starts_with('1'))
            .then(|| press(KeyCode::BackTab, KeyModifiers::SHIFT)),
        b'~' => tilde(text),
        b'u' => {
            let mut fields = text.split(';');
            // The first is the key's own character, what else it could be follows a colon.
            let key = fields.next()?.split(':').next()?.parse().ok()?;
            modified(unicode(key)?, fields.next(), None)
        }
        // Focus, positions (R: also where xterm means F3 with a modifier), attributes …
        _ => None,
    }
}

fn tilde(text: &str) -> Option<Event> {
    let mut fields = text.split(';');
    let number: u8 = fields.next()?.parse().ok()?;
    let modifiers = fields.next();
    let code = match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(number - 10),
        17..=21 => KeyCode::F(number - 11),
        23..=26 => KeyCode::F(number - 12),
        28..=29 => KeyCode::F(number - 13),
        31..=34 => KeyCode::F(number - 14),
        // A character with modifiers, by its number.
        27 => unicode(fields.next()?.parse().ok()?)?,
        _ => return None,
    };
    modified(code, modifiers, fields.next())
}

/// A key that is given as the number of its character.
fn unicode(key: u32) -> Option<KeyCode> {
    Some(match char::from_u32(key)? {
        '\r' | '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\u{1b}' => KeyCode::Esc,
        '\u{7f}' | '\u{8}' => KeyCode::Backspace,
        // Keys that have no character stand in the private use area.
        c if c.is_control() || ('\u{e000}'..='\u{f8ff}').contains(&c) => return None,
        c => KeyCode::Char(c),
    })
}

/// A key with modifiers; `None` for its release, and for modifiers that no binding has: what
/// is bound to `c` must not be done by Super-c.
fn modified(code: KeyCode, modifiers: Option<&str>, more: Option<&str>) -> Option<Event> {
    if more.is_some_and(|more| !more.is_empty()) && !matches!(code, KeyCode::Char(_)) {
        return None;
    }
    let (mask, kind) = modifiers
        .unwrap_or("")
        .split_once(':')
        .unwrap_or((modifiers.unwrap_or(""), "1"));
    let mask = match mask {
        "" => 0,
        mask => mask.parse::<u16>().ok()?.checked_sub(1)?,
    };
    // Caps lock and num lock are no modifiers of a key.
    let mask = mask & !0b1100_0000;
    if mask > 0b111 {
        return None;
    }
    let mut held = KeyModifiers::NONE;
    for (bit, modifier) in [
        (1, KeyModifiers::SHIFT),
        (2, KeyModifiers::ALT),
        (4, KeyModifiers::CONTROL),
    ] {
        if mask & bit != 0 {
            held |= modifier;
        }
    }
    let code = match code {
        KeyCode::Char(c) if held == KeyModifiers::SHIFT => {
            KeyCode::Char(c.to_uppercase().next().unwrap_or(c))
        }
        code => code,
    };
    let kind = match kind {
        "1" => KeyEventKind::Press,
        "2" => KeyEventKind::Repeat,
        _ => return None,
    };
    Some(Event::Key(KeyEvent::new_with_kind(code, held, kind)))
}

/// The mouse, as three numbers: button and modifiers, column, row.
fn mouse(report: &str, offset: u16, released: bool) -> Option<Event> {
    let mut numbers = report.split(';').map(str::parse::<u16>);
    let mut next = || numbers.next()?.ok();
    let (button, column, row) = (next()?.checked_sub(offset)?, next()?, next()?);
    at(button, column, row, released)
}

/// The mouse as three bytes, each with 32 added.
pub(super) fn old_mouse(bytes: [u8; 3]) -> Option<Event> {
    let [button, column, row] = bytes.map(|byte| u16::from(byte).checked_sub(32));
    at(button?, column?, row?, false)
}

fn at(button: u16, column: u16, row: u16, released: bool) -> Option<Event> {
    let moved = button & 32 != 0;
    let which = match button & 3 {
        0 => Some(MouseButton::Left),
        1 => Some(MouseButton::Middle),
        2 => Some(MouseButton::Right),
        _ => None,
    };
    let kind = match (button & !0b11_1100, which) {
        (0..=2, Some(which)) if released => MouseEventKind::Up(which),
        (0..=2, Some(which)) if moved => MouseEventKind::Drag(which),
        (0..=2, Some(which)) => MouseEventKind::Down(which),
        (3, _) if moved => MouseEventKind::Moved,
        (3, _) => MouseEventKind::Up(MouseButton::Left),
        (64, _) => MouseEventKind::ScrollUp,
        (65, _) => MouseEventKind::ScrollDown,
        (66, _) => MouseEventKind::ScrollLeft,
        (67, _) => MouseEventKind::ScrollRight,
        _ => return None,
    };
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in [
        (4, KeyModifiers::SHIFT),
        (8, KeyModifiers::ALT),
        (16, KeyModifiers::CONTROL),
    ] {
        if button & bit != 0 {
            modifiers |= modifier;
        }
    }
    Some(Event::Mouse(MouseEvent {
        kind,
        column: column.checked_sub(1)?,
        row: row.checked_sub(1)?,
        modifiers,
    }))
}
