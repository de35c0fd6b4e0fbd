internal import ModelFiles
internal import SequenceModels

/// What a `config.json` that training wrote says: which model, and what it learned from.
struct ModelDescription: Hashable {
    /// The file's name in a model's folder.
    static let fileName = "config.json"
    /// What tells the file from other programs' configurations.
    private static let format = "swift-attention"
    private static let version: Int64 = 1

    /// Whether a configuration is of a model that was trained here.
    static func isOne(_ json: JSONValue) -> Bool { json["format"]?.stringValue == format }

    var configuration: TextModelConfiguration
    var prompting: LanguageModel.Prompting

    var json: JSONValue {
        var object = JSONObject()
        object.append("format", .string(Self.format))
        object.append("version", .integer(Self.version))
        object.append("architecture", .string(configuration.architecture.rawValue))
        object.append("vocabularySize", .integer(Int64(configuration.vocabularySize)))
        object.append("width", .integer(Int64(configuration.width)))
        object.append("layerCount", .integer(Int64(configuration.layerCount)))
        object.append("contextLength", .integer(Int64(configuration.contextLength)))
        object.append("headCount", .integer(Int64(configuration.headCount)))
        object.append("attention", configuration.attention.map { .string($0.rawValue) } ?? .null)
        object.append("similarity", configuration.similarity.map { .string($0.rawValue) } ?? .null)
        object.append("dropoutRate", .number(configuration.dropoutRate))
        object.append("learnedFrom", .string(prompting.rawValue))
        return .object(object)
    }

    init(_ configuration: TextModelConfiguration, prompting: LanguageModel.Prompting) {
        self.configuration = configuration
        self.prompting = prompting
    }

    /// Reads a description; sizes beyond `parameterByteCount`, which the model's file has, are refused before anything
    /// of that size is made.
    init(_ json: JSONValue, path: String, parameterByteCount: Int) throws(PretrainedModelError) {
        func fail(_ key: String, wanted: String) -> PretrainedModelError {
            .invalidConfiguration(path: path, key: key, value: Self.text(json[key]), wanted: wanted)
        }
        func integer(_ key: String, _ range: ClosedRange<Int64>) throws(PretrainedModelError) -> Int {
            guard let value = json[key]?.integerValue, range.contains(value) else {
                throw fail(key, wanted: "a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return Int(value)
        }
        func choice<Choice: RawRepresentable<String> & CaseIterable>(
            _ key: String, _ type: Choice.Type
        ) throws(PretrainedModelError) -> Choice {
            guard let value = json[key]?.stringValue.flatMap(Choice.init(rawValue:)) else {
                throw fail(key, wanted: "one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            return value
        }
        func optionalChoice<Choice: RawRepresentable<String> & CaseIterable>(
            _ key: String, _ type: Choice.Type
        ) throws(PretrainedModelError) -> Choice? {
            switch json[key] {
            case nil, .null?: return nil
            default: return try choice(key, type)
            }
        }
        guard json["format"]?.stringValue == Self.format else { throw fail("format", wanted: Self.format) }
        guard json["version"]?.integerValue == Self.version else { throw fail("version", wanted: "\(Self.version)") }
        guard let dropoutRate = json["dropoutRate"]?.doubleValue, 0..<1 ~= dropoutRate else {
            throw fail("dropoutRate", wanted: "a number from 0 to less than 1")
        }
        configuration = TextModelConfiguration(
            try choice("architecture", TextModelConfiguration.Architecture.self),
            vocabularySize: try integer("vocabularySize", 1...(1 << 24)), width: try integer("width", 1...(1 << 16)),
            layerCount: try integer("layerCount", 1...(1 << 10)),
            contextLength: try integer("contextLength", 1...(1 << 20)),
            headCount: try integer("headCount", 1...(1 << 10)),
            attention: try optionalChoice("attention", TextModelConfiguration.EncoderAttention.self),
            similarity: try optionalChoice("similarity", SimilarityKind.self), dropoutRate: dropoutRate)
        prompting = try choice("learnedFrom", LanguageModel.Prompting.self)
        if let problem = configuration.problem {
            throw .invalidConfiguration(path: path, key: "the model", value: "such", wanted: problem)
        }
        // Every architecture has at least a matrix of the vocabulary and one per layer.
        let positionCount = configuration.architecture == .transformer ? configuration.contextLength : 0
        let rowCount = configuration.vocabularySize + configuration.layerCount * configuration.width + positionCount
        let least = 4 * configuration.width * rowCount
        guard least <= parameterByteCount else {
            throw .invalidConfiguration(
                path: path, key: "the model's size", value: "at least \(least) bytes",
                wanted: "no more than the \(parameterByteCount) bytes of the parameters' file")
        }
    }

    private static func text(_ value: JSONValue?) -> String {
        guard let value, let bytes = try? value.serialized() else { return "nothing" }
        return String(decoding: bytes.prefix(80), as: UTF8.self)
    }
}
