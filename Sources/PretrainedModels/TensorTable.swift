internal import Attention
internal import ModelFiles

/// A file's tensors by name, each taken with the shape that the model needs; what is left over is an error.
struct TensorTable {
    private let file: GGUFFile
    private var unused: Set<String>

    init(_ file: GGUFFile) {
        self.file = file
        unused = Set(file.tensors.map(\.name))
    }

    private var path: String { file.file.path }

    /// Returns `[rows, columns]`, over the file's own bytes.
    mutating func matrix(_ name: String, rows: Int, columns: Int) throws(PretrainedModelError) -> WeightMatrix {
        // GGUF names the fastest dimension first.
        let tensor = try take(name, dimensions: [columns, rows])
        return WeightMatrix(
            sharing: tensor.data.unsafeBytes, owner: tensor.data.file, rowCount: rows, columnCount: columns,
            format: tensor.type.weightFormat)
    }

    /// Returns `[count]` as float32.
    mutating func vector(_ name: String, count: Int) throws(PretrainedModelError) -> Tensor {
        let tensor = try take(name, dimensions: [count])
        return WeightMatrix(
            sharing: tensor.data.unsafeBytes, owner: tensor.data.file, rowCount: 1, columnCount: count,
            format: tensor.type.weightFormat
        ).rows([0]).reshaped(to: [count])
    }

    func requireAllUsed() throws(PretrainedModelError) {
        guard unused.isEmpty else {
            throw .wrongTensors(path: path, missing: [], unexpected: unused.sorted())
        }
    }

    private mutating func take(_ name: String, dimensions: [Int]) throws(PretrainedModelError) -> GGUFFile.Tensor {
        guard let tensor = file.tensor(named: name) else {
            throw .wrongTensors(path: path, missing: [name], unexpected: [])
        }
        guard tensor.dimensions == dimensions else {
            throw .wrongShape(path: path, tensorName: name, found: tensor.dimensions, wanted: dimensions)
        }
        unused.remove(name)
        return tensor
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
