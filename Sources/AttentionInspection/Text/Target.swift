/// Which word is to be explained.
public enum Target: Sendable, Hashable {
    /// The last word; white space at the end is none.
    case last
    /// The word at a position, from 0.
    case position(Int)
    /// The word with this text, if need be but for case and the white space around it.
    ///
    /// `#3` is the word at position 3. So is `3` where no word is that number, or where several are and the one at
    /// position 3 is among them.
    case word(String)

    /// Returns the index of the segment that is meant.
    ///
    /// - Parameter segments: The sentence's, at least one.
    /// - Returns: From 0.
    /// - Throws: ``InspectionError/targetNotFound(target:words:)`` or
    ///   ``InspectionError/ambiguousTarget(target:positions:)``.
    func index(in segments: [Segment]) throws(InspectionError) -> Int {
        let words = segments.map(\.text)
        switch self {
        case .last: return segments.lastIndex { !$0.isWhiteSpace } ?? segments.count - 1
        case .position(let position):
            guard segments.indices.contains(position) else {
                throw .targetNotFound(target: "\(position)", words: words)
            }
            return position
        case .word(let text):
            if text.hasPrefix("#"), let position = Int(text.dropFirst()) {
                guard segments.indices.contains(position) else { throw .targetNotFound(target: text, words: words) }
                return position
            }
            // A token's text begins with a space that nobody types.
            let readings: [(String) -> String] = [
                { $0 }, { $0.trimmingWhiteSpace }, { $0.trimmingWhiteSpace.lowercased() },
            ]
            for reading in readings {
                let positions = words.indices.filter { reading(words[$0]) == reading(text) }
                if positions.count > 1 {
                    if let position = Int(text), positions.contains(position) { return position }
                    throw .ambiguousTarget(target: text, positions: positions)
                }
                if let position = positions.first { return position }
            }
            if let position = Int(text), segments.indices.contains(position) { return position }
            throw .targetNotFound(target: text, words: words)
        }
    }
}
