internal import Attention
internal import ModelFiles

/// A model's tensors by name, each taken with the shape that the model needs; what is left over is an error.
struct TensorTable {
    private struct Entry {
        /// As the file has them.
        let dimensions: [Int]
        /// How elements are stored; `nil` where they are no weights.
        let format: WeightMatrix.Format?
        let data: MappedFile.Slice
    }

    /// What messages name.
    let path: String
    private var entries: [String: Entry] = [:]
    private var unused: Set<String> = []
    /// GGUF names the fastest dimension first.
    private let hasFastestFirst: Bool

    /// The tensors of a GGUF file.
    init(_ file: GGUFFile) {
        path = file.file.path
        hasFastestFirst = true
        for tensor in file.tensors {
            add(tensor.name, Entry(dimensions: tensor.dimensions, format: tensor.type.weightFormat, data: tensor.data))
        }
    }

    /// The tensors of safetensors files.
    ///
    /// - Parameters:
    ///   - checkpoint: The files.
    ///   - rename: Returns what a tensor is called here; by default what it is called there.
    init(_ checkpoint: SafetensorsCheckpoint, renaming rename: (String) -> String = { $0 }) {
        path = checkpoint.path
        hasFastestFirst = false
        for tensor in checkpoint.tensors {
            let entry = Entry(
                dimensions: tensor.shape, format: tensor.elementType.weightFormat, data: tensor.data)
            let name = rename(tensor.name)
            // Where two would have one name, the second keeps its own, and is left over.
            add(entries[name] == nil ? name : tensor.name, entry)
        }
    }

    private mutating func add(_ name: String, _ entry: Entry) {
        entries[name] = entry
        unused.insert(name)
    }

    /// Whether there is such a tensor.
    func contains(_ name: String) -> Bool { entries[name] != nil }

    /// Checks that a model's tensors are there, and no others.
    ///
    /// - Parameters:
    ///   - names: What the model needs.
    ///   - ignored: What may be there as well, and is of no use.
    /// - Throws: `PretrainedModelError.wrongTensors` with what is missing and what is left over.
    func require(_ names: [String], ignoring ignored: [String] = []) throws(PretrainedModelError) {
        let missing = names.filter { entries[$0] == nil }
        let unexpected = unused.subtracting(names).subtracting(ignored).sorted()
        guard missing.isEmpty && unexpected.isEmpty else {
            throw .wrongTensors(path: path, missing: missing, unexpected: unexpected)
        }
    }

    /// Returns `[rows, columns]`, over the file's own bytes.
    mutating func matrix(_ name: String, rows: Int, columns: Int) throws(PretrainedModelError) -> WeightMatrix {
        let (data, format) = try take(name, dimensions: hasFastestFirst ? [columns, rows] : [rows, columns])
        return WeightMatrix(
            sharing: data.unsafeBytes, owner: data.file, rowCount: rows, columnCount: columns, format: format)
    }

    /// Returns `[rows, columns]` as float32.
    mutating func decodedMatrix(_ name: String, rows: Int, columns: Int) throws(PretrainedModelError) -> Tensor {
        try matrix(name, rows: rows, columns: columns).decoded
    }

    /// Returns `[count]` as float32.
    mutating func vector(_ name: String, count: Int) throws(PretrainedModelError) -> Tensor {
        let (data, format) = try take(name, dimensions: [count])
        return WeightMatrix(
            sharing: data.unsafeBytes, owner: data.file, rowCount: 1, columnCount: count, format: format
        ).rows([0]).reshaped(to: [count])
    }

    func requireAllUsed() throws(PretrainedModelError) {
        guard unused.isEmpty else {
            throw .wrongTensors(path: path, missing: [], unexpected: unused.sorted())
        }
    }

    private mutating func take(
        _ name: String, dimensions: [Int]
    ) throws(PretrainedModelError) -> (data: MappedFile.Slice, format: WeightMatrix.Format) {
        guard let entry = entries[name] else {
            throw .wrongTensors(path: path, missing: [name], unexpected: [])
        }
        guard entry.dimensions == dimensions else {
            throw .wrongShape(path: path, tensorName: name, found: entry.dimensions, wanted: dimensions)
        }
        guard let format = entry.format else {
            throw .unsupportedFeature(
                path: path, key: "the type of '\(name)'", value: "not that of weights", supported: "F32, F16, BF16")
        }
        unused.remove(name)
        return (entry.data, format)
    }
}

extension GGUFFile.TensorType {
    var weightFormat: WeightMatrix.Format {
        switch self {
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        case .q80: .q80
        case .q40: .q40
        case .q41: .q41
        }
    }
}

extension SafetensorsFile.ElementType {
    /// How weights of this type are stored, or `nil` if none are.
    var weightFormat: WeightMatrix.Format? {
        switch self {
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        default: nil
        }
    }
}
