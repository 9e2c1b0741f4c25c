package server

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

// openapiYAML describes the API. It is written by hand; the tests hold it and
// the handlers to each other.
//
//go:embed openapi.yaml
var openapiYAML []byte

// openAPI is the description of the API, as far as pages for people need it.
type openAPI struct {
	Info       docInfo
	Tags       []docTag
	Paths      map[string]docPath
	Components struct {
		Parameters map[string]docParameter
		Schemas    map[string]*docSchema
	}
}

type (
	docInfo struct{ Title, Version, Summary, Description string }
	docTag  struct{ Name, Description string }
	// docPath has the operations of a path, by method.
	docPath struct {
		Get, Post, Patch, Delete *docOperation
	}
	docOperation struct {
		Tags        []string
		OperationID string `yaml:"operationId"`
		Summary     string
		Description string
		Deprecated  bool
		Security    *[]map[string][]string
		Permission  string `yaml:"x-permission"`
		Parameters  []docParameter
		RequestBody *struct{ Content docContent } `yaml:"requestBody"`
		Responses   map[string]struct {
			Description string
			Content     docContent
		}
	}
	docParameter struct {
		Ref         string `yaml:"$ref"`
		Name        string
		In          string
		Description string
		Required    bool
		Schema      *docSchema
	}
	docContent map[string]struct{ Schema *docSchema } // by media type
)

// operation is the one of the method; nil when there is none.
func (p docPath) operation(method string) *docOperation {
	return map[string]*docOperation{"GET": p.Get, "POST": p.Post, "PATCH": p.Patch, "DELETE": p.Delete}[method]
}

// description is the document in the forms in which it is served.
type description struct {
	json   []byte // OpenAPI 3.1
	page   []byte // HTML
	policy string // the content security policy of the page
}

func describe() (*description, error) {
	var root yaml.Node // read once: that is what takes time
	var tree any
	var doc openAPI
	err := yaml.Unmarshal(openapiYAML, &root)
	if err == nil {
		err = errors.Join(root.Decode(&tree), root.Decode(&doc))
	}
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	page, policy, err := renderDocs(&doc)
	return &description{raw, page, policy}, err
}

// fresh lets browsers keep for a while what only a new version of the program
// changes.
const fresh = "public, max-age=300"

// openAPIJSON is the description of the API: GET /openapi.json.
func (s *Server) openAPIJSON(*request) (answer, error) {
	d, err := s.described()
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, raw: d.json, header: map[string]string{"Cache-Control": fresh}}, nil
}

// docs is the description of the API for people: GET /docs.
func (s *Server) docs(*request) (answer, error) {
	d, err := s.described()
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, raw: d.page, header: map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": d.policy, "Cache-Control": fresh,
	}}, nil
}

// orderedSchemas are the properties of an object as they stand in the document.
type orderedSchemas []namedSchema

type namedSchema struct {
	name   string
	schema *docSchema
}

// UnmarshalYAML reads a mapping in its order.
func (o *orderedSchemas) UnmarshalYAML(node *yaml.Node) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		s := &docSchema{}
		if err := node.Content[i+1].Decode(s); err != nil {
			return err
		}
		*o = append(*o, namedSchema{node.Content[i].Value, s})
	}
	return nil
}
