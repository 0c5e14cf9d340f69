//! Modules, libraries and the linker.

use crate::abi::{CuFunction, CuKernel, CuLibrary, CuLinker, CuModule, In, Out, Pointer, Text};
use crate::calls::{link, module};

#[rustfmt::skip]
super::entries! {
    "cuModuleGetLoadingMode": cuModuleGetLoadingMode 11070 Legacy => module::loading_mode(mode: Out<u32>);
    "cuModuleLoad": cuModuleLoad 2000 Legacy => module::load(module: Out<CuModule>, file: Text);
    "cuModuleLoadData": cuModuleLoadData 2000 Legacy => module::load_data(module: Out<CuModule>, image: Pointer);
    "cuModuleLoadDataEx": cuModuleLoadDataEx 2010 Legacy => module::load_data_ex(module: Out<CuModule>, image: Pointer, count: u32, options: In<u32>, values: In<Pointer>);
    "cuModuleLoadFatBinary": cuModuleLoadFatBinary 2000 Legacy => module::load_data(module: Out<CuModule>, image: Pointer);
    "cuModuleUnload": cuModuleUnload 2000 Legacy => module::unload(module: CuModule);
    "cuModuleGetFunction": cuModuleGetFunction 2000 Legacy => module::function(function: Out<CuFunction>, module: CuModule, name: Text);
    "cuModuleGetFunctionCount": cuModuleGetFunctionCount 12040 Legacy => module::function_count(count: Out<u32>, module: CuModule);
    "cuModuleEnumerateFunctions": cuModuleEnumerateFunctions 12040 Legacy => module::enumerate(functions: Out<CuFunction>, count: u32, module: CuModule);
    "cuModuleGetGlobal": cuModuleGetGlobal_v2 3020 Legacy => module::global(address: Out<Pointer>, bytes: Out<usize>, module: CuModule, name: Text);
    "cuLibraryLoadData": cuLibraryLoadData 12000 Legacy => module::library_load_data(library: Out<CuLibrary>, image: Pointer, options: In<u32>, values: In<Pointer>, count: u32, library_options: In<u32>, library_values: In<Pointer>, library_count: u32);
    "cuLibraryLoadFromFile": cuLibraryLoadFromFile 12000 Legacy => module::library_load_file(library: Out<CuLibrary>, file: Text, options: In<u32>, values: In<Pointer>, count: u32, library_options: In<u32>, library_values: In<Pointer>, library_count: u32);
    "cuLibraryUnload": cuLibraryUnload 12000 Legacy => module::library_unload(library: CuLibrary);
    "cuLibraryGetKernel": cuLibraryGetKernel 12000 Legacy => module::library_kernel(kernel: Out<CuKernel>, library: CuLibrary, name: Text);
    "cuLibraryGetKernelCount": cuLibraryGetKernelCount 12040 Legacy => module::library_kernel_count(count: Out<u32>, library: CuLibrary);
    "cuLibraryEnumerateKernels": cuLibraryEnumerateKernels 12040 Legacy => module::library_kernels(kernels: Out<CuKernel>, count: u32, library: CuLibrary);
    "cuLibraryGetModule": cuLibraryGetModule 12000 Legacy => module::library_module(module: Out<CuModule>, library: CuLibrary);
    "cuLibraryGetGlobal": cuLibraryGetGlobal 12000 Legacy => module::library_global(address: Out<Pointer>, bytes: Out<usize>, library: CuLibrary, name: Text);
    "cuLibraryGetManaged": cuLibraryGetManaged 12000 Legacy => module::library_managed(address: Out<Pointer>, bytes: Out<usize>, library: CuLibrary, name: Text);
    "cuLibraryGetUnifiedFunction": cuLibraryGetUnifiedFunction 12000 Legacy => module::library_unified(function: Out<Pointer>, library: CuLibrary, name: Text);
    "cuLinkAddData": cuLinkAddData 5050 Legacy, cuLinkAddData_v2 6050 Legacy => link::add_data(linker: CuLinker, kind: u32, data: Pointer, bytes: usize, name: Text, count: u32, options: In<u32>, values: In<Pointer>);
    "cuLinkAddFile": cuLinkAddFile 5050 Legacy, cuLinkAddFile_v2 6050 Legacy => link::add_file(linker: CuLinker, kind: u32, path: Text, count: u32, options: In<u32>, values: In<Pointer>);
    "cuLinkComplete": cuLinkComplete 5050 Legacy => link::complete(linker: CuLinker, image: Out<Pointer>, bytes: Out<usize>);
    "cuLinkCreate": cuLinkCreate 5050 Legacy, cuLinkCreate_v2 6050 Legacy => link::create(count: u32, options: In<u32>, values: In<Pointer>, linker: Out<CuLinker>);
    "cuLinkDestroy": cuLinkDestroy 5050 Legacy => link::destroy(linker: CuLinker);
    "cuModuleGetGlobal": cuModuleGetGlobal 2000 Legacy;
}
