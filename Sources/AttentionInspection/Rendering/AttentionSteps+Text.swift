extension AttentionSteps {
    /// Returns the ladder from the query to the average of the values, a line per token and step.
    ///
    /// Of each vector the first four components and the norm are shown; JSON holds them whole.
    ///
    /// - Parameter style: Whether to use escape sequences.
    /// - Returns: Lines, each ended.
    public func text(style: TextStyle = .plain) -> String {
        let nameWidth = min(16, max(5, keys.map { $0.text.printable.displayWidth }.max() ?? 5))
        func name(_ key: Key) -> String {
            let number = String(key.position)
            return String(repeating: " ", count: max(0, 4 - number.count)) + number + " "
                + key.text.printable.padded(to: nameWidth)
        }
        func table(_ title: String, _ columns: String, _ row: (Key) -> String) -> [String] {
            let margin = "     " + "token".padded(to: nameWidth)
            return ["", style.bold(title), style.dim("\(margin)  \(columns)")] + keys.map { "\(name($0))  \(row($0))" }
        }
        let sharing = headsSharingKeys.map(String.init).joined(separator: ", ")
        let hidden = "          −∞"
        var lines = [
            style.bold("Layer \(layer), head \(head), at \"\(queryText.printable)\" (token \(queryPosition))"),
            "Vectors have \(query.count) components; keys and values are those of key-value head \(keyValueHead), "
                + "shared by query heads \(sharing).",
            "", style.bold("1. The query q"),
        ]
        if isRotated {
            lines += [
                "  before rotation  \(Numbers.vector(queryBeforeRotation))  norm \(Numbers.norm(queryBeforeRotation))",
                "  after rotation   \(Numbers.vector(query))  norm \(Numbers.norm(query))",
            ]
        } else {
            lines.append("  \(Numbers.vector(query))  norm \(Numbers.norm(query))")
        }
        lines += table(
            "2. The keys k", isRotated ? "before rotation                               after rotation" : ""
        ) { key in
            (isRotated ? "\(Numbers.vector(key.keyBeforeRotation, shown: 3))  " : "")
                + "\(Numbers.vector(key.key))  norm \(Numbers.norm(key.key))"
        }
        lines += table("3. The values v", "") { "\(Numbers.vector($0.value))  norm \(Numbers.norm($0.value))" }
        let measure = similarity.hasSuffix("dot") ? "         q·k" : "  similarity"
        let isBiased = keys.contains { $0.masked != nil && $0.masked != $0.scaled }
        lines += table(
            "4. From similarity to weight (\(similarity), scale \(Numbers.exact(scale).drop { $0 == " " }))",
            "\(measure)      × scale  \(isBiased ? "bias & mask" : " after mask")    softmax α"
        ) { key in
            "\(Numbers.exact(key.dotProduct)) \(Numbers.exact(key.scaled)) "
                + "\(key.masked.map(Numbers.exact) ?? hidden) \(Numbers.exact(key.weight))"
        }
        lines += table("5. The weighted average", "α·v") {
            "\(Numbers.vector($0.weightedValue))  norm \(Numbers.norm($0.weightedValue))"
        }
        lines.append(
            "     " + "Σ α·v".padded(to: nameWidth) + "  \(Numbers.vector(output))  norm \(Numbers.norm(output))")
        return lines.joined(separator: "\n") + "\n"
    }
}
