extension String {
    /// How many columns a terminal gives the text.
    ///
    /// East Asian wide characters and emoji take two, marks that join the character before them none. The ranges are
    /// the blocks that Unicode's EastAsianWidth.txt has as wide; the standard library does not tell the property.
    var displayWidth: Int {
        reduce(0) { $0 + $1.displayWidth }
    }

    /// Returns the text followed by spaces up to a width, or cut to it with an ellipsis.
    func padded(to width: Int) -> String {
        var result = ""
        var used = 0
        let fits = displayWidth <= width
        for character in self {
            if used + character.displayWidth > (fits ? width : width - 1) { break }
            result.append(character)
            used += character.displayWidth
        }
        if !fits {
            result += "…"
            used += 1
        }
        return result + String(repeating: " ", count: max(0, width - used))
    }

    /// The text with what would move the cursor, or be invisible, shown as a symbol.
    package var printable: String {
        String(
            String.UnicodeScalarView(
                unicodeScalars.map { scalar in
                    switch scalar.value {
                    // Control Pictures: one symbol per control character.
                    case 0..<0x20: Unicode.Scalar(0x2400 + scalar.value) ?? "\u{FFFD}"
                    case 0x7F: "\u{2421}"
                    // More controls, line separators, and what turns the direction of writing.
                    case 0x80..<0xA0, 0x61C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: "\u{FFFD}"
                    default: scalar
                    }
                }))
    }
}

extension Character {
    fileprivate var displayWidth: Int {
        guard let scalar = unicodeScalars.first else { return 0 }
        if unicodeScalars.contains(where: { $0.properties.isEmojiPresentation || $0.value == 0xFE0F }) { return 2 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F,
            0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default: return 1
        }
    }
}
