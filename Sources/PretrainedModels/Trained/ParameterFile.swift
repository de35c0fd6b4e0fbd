internal import Attention
internal import ModelFiles
internal import SequenceModels

/// Parameters in safetensors files, by name.
enum ParameterFile {
    /// Describes tensors to write.
    static func tensors(_ named: [(name: String, value: Tensor)]) -> [SafetensorsFile.TensorToWrite] {
        named.map { name, value in
            SafetensorsFile.TensorToWrite(name: name, elementType: .float32, shape: value.shape) { body in
                value.converted(to: .float32).withUnsafeBytes(body)
            }
        }
    }

    /// Returns a copy of a layer with the parameters of a file, which has to hold these and no others.
    static func layer<Model: Layer>(
        _ layer: Model, from file: SafetensorsFile, path: String
    ) throws(PretrainedModelError) -> Model {
        let wanted = layer.parameters.map { (name: $0.name, shape: $0.value.shape) }
        return layer.replacingParameters(with: try read(wanted, from: file, path: path))
    }

    /// Returns tensors of given names and shapes from a file that holds these and no others.
    static func read(
        _ wanted: [(name: String, shape: [Int])], from file: SafetensorsFile, path: String
    ) throws(PretrainedModelError) -> [Tensor] {
        let names = Set(wanted.map(\.name))
        let missing = wanted.map(\.name).filter { file.tensor(named: $0) == nil }
        let unexpected = file.tensors.map(\.name).filter { !names.contains($0) }
        guard missing.isEmpty && unexpected.isEmpty else {
            throw .wrongTensors(path: path, missing: missing, unexpected: unexpected)
        }
        return try wanted.map { name, shape throws(PretrainedModelError) in
            guard let tensor = file.tensor(named: name), tensor.elementType == .float32, tensor.shape == shape else {
                throw .wrongShape(
                    path: path, tensorName: name, found: file.tensor(named: name)?.shape ?? [], wanted: shape)
            }
            return Tensor(copying: tensor.data.unsafeBytes, shape: shape, elementType: .float32)
        }
    }
}
