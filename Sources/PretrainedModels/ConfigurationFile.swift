internal import ModelFiles

/// A `config.json`, or another such file of a model's folder: values by key, each checked as it is read.
struct ConfigurationFile {
    /// More bytes than this are no configuration.
    private static let maximumByteCount = 1 << 24

    let path: String
    let json: JSONValue

    init(path: String) throws(PretrainedModelError) {
        self.path = path
        do {
            let file = try MappedFile(reading: path)
            guard file.count <= Self.maximumByteCount else {
                throw PretrainedModelError.unreadableFolder(
                    path: path, reason: "it has \(file.count) bytes, more than any configuration")
            }
            json = try file.withUnsafeBytes { bytes throws(JSONError) in try JSONValue(parsing: bytes) }
        } catch let error as PretrainedModelError {
            throw error
        } catch {
            throw .unreadableFolder(path: path, reason: "\(error)")
        }
    }

    /// The value of a key; `null` is none.
    subscript(key: String) -> JSONValue? {
        switch json[key] {
        case nil, .null?: nil
        case let value?: value
        }
    }

    /// A whole number within limits; widths are multiplied with each other, which has to stay within 64 bits.
    func integer(
        _ key: String, default fallback: Int? = nil, in range: ClosedRange<Int> = 1...Int(Int32.max)
    ) throws(PretrainedModelError) -> Int {
        guard let value = self[key] else {
            if let fallback { return fallback }
            throw error(key, wanted: "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        guard let integer = value.integerValue, let number = Int(exactly: integer), range.contains(number) else {
            throw error(key, wanted: "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A finite number above 0.
    func number(_ key: String, default fallback: Double? = nil) throws(PretrainedModelError) -> Double {
        if self[key] == nil, let fallback { return fallback }
        guard let number = self[key]?.doubleValue, number.isFinite, number > 0 else {
            throw error(key, wanted: "a finite number above 0")
        }
        return number
    }

    func flag(_ key: String, default fallback: Bool) throws(PretrainedModelError) -> Bool {
        guard let value = self[key] else { return fallback }
        guard let flag = value.booleanValue else { throw error(key, wanted: "true or false") }
        return flag
    }

    func string(_ key: String, default fallback: String? = nil) throws(PretrainedModelError) -> String {
        if self[key] == nil, let fallback { return fallback }
        guard let string = self[key]?.stringValue else { throw error(key, wanted: "a text") }
        return string
    }

    /// One of some choices, by the name that the file has for it.
    func choice<Choice>(
        _ key: String, _ choices: [(name: String, choice: Choice)], default fallback: String? = nil
    ) throws(PretrainedModelError) -> Choice {
        let name = try string(key, default: fallback)
        guard let found = choices.first(where: { $0.name == name }) else {
            throw .unsupportedFeature(
                path: path, key: key, value: String(name.prefix(80)),
                supported: choices.map(\.name).joined(separator: ", "))
        }
        return found.choice
    }

    func error(_ key: String, wanted: String) -> PretrainedModelError {
        var text = "nothing"
        if let value = json[key], let bytes = try? value.serialized() {
            text = String(decoding: bytes.prefix(80), as: UTF8.self)
        }
        return .invalidConfiguration(path: path, key: key, value: text, wanted: wanted)
    }
}
