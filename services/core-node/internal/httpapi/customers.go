package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// customerRoutes are those of rest-api §2.3.
func (a *api) customerRoutes() []route {
	return []route{
		{"POST", "/api/customer", tenants(), a.saveCustomer},
		{"GET", "/api/customer/{customerId}", tenantUsers(), a.customer},
		{"GET", "/api/customer/{customerId}/shortInfo", tenantUsers(), a.customerShortInfo},
		{"GET", "/api/customer/{customerId}/title", tenantUsers(), a.customerTitle},
		{"DELETE", "/api/customer/{customerId}", tenants(), a.deleteCustomer},
		{"GET", "/api/customers", tenantUsers(), a.listCustomers},
		{"GET", "/api/customers/list", tenantUsers(), a.customersByID},
		{"GET", "/api/tenant/customers", tenants(), a.customerByTitle},
	}
}

// customerBody is a customer as JSON (rest-api §3.5); Name is its title, read only.
type customerBody struct {
	ID             ref             `json:"id"`
	CreatedTime    int64           `json:"createdTime"`
	AdditionalInfo json.RawMessage `json:"additionalInfo"`
	contact
	Title      string `json:"title"`
	TenantID   ref    `json:"tenantId"`
	ExternalID *ref   `json:"externalId"`
	Version    int64  `json:"version"`
	Name       string `json:"name"`
}

func customerView(c entity.Customer) customerBody {
	return customerBody{
		ID: refOf(ident.Customer, c.ID.ID), CreatedTime: c.CreatedTime, AdditionalInfo: objectView(c.AdditionalInfo),
		contact: contactView(c.Contact), Title: c.Title, TenantID: refOf(ident.Tenant, c.Tenant.ID),
		ExternalID: optional(ident.Customer, c.External), Version: c.Version, Name: c.Title,
	}
}

// isPublic reads the mark of the customer that stands for everybody (rest-api §3.4).
func isPublic(c entity.Customer) bool {
	var info struct {
		IsPublic bool `json:"isPublic"`
	}
	return !none(c.AdditionalInfo) && json.Unmarshal(c.AdditionalInfo, &info) == nil && info.IsPublic
}

func (a *api) saveCustomer(r *http.Request, p auth.Principal) (any, error) {
	c, err := readCustomer(r)
	if err != nil {
		return nil, err
	}
	c.Tenant = p.Tenant
	if !c.ID.IsZero() {
		if _, err := a.Guard.Customer(r.Context(), p, c.ID); err != nil {
			return nil, err
		}
		updated, err := a.Entities.Customers.Update(r.Context(), c)
		if err != nil {
			return nil, err
		}
		return customerView(updated), nil
	}
	created, err := uniquify(r, c.Title, func(title string) (bool, error) {
		_, err := a.Entities.Customers.ByTitle(r.Context(), p.Tenant, title)
		return exists(err)
	}, func(title string) (entity.Customer, error) {
		c.Title = title
		return a.Entities.Customers.Create(r.Context(), c)
	})
	if err != nil {
		return nil, err
	}
	return customerView(created), nil
}

func readCustomer(r *http.Request) (entity.Customer, error) {
	var in struct {
		ID, ExternalID *given
		Title          string
		AdditionalInfo json.RawMessage
		Version        *int64
		contact
	}
	if err := decode(r, &in); err != nil {
		return entity.Customer{}, err
	}
	id, err := in.ID.id("id", ident.Customer)
	if err != nil {
		return entity.Customer{}, err
	}
	external, err := in.ExternalID.id("externalId", ident.Customer)
	if err != nil {
		return entity.Customer{}, err
	}
	info, err := object("additionalInfo", in.AdditionalInfo)
	if err != nil {
		return entity.Customer{}, err
	}
	reach, err := in.read()
	if err != nil {
		return entity.Customer{}, err
	}
	return entity.Customer{
		ID: ident.CustomerID{ID: id}, Title: in.Title, Contact: reach, AdditionalInfo: info, External: external, Version: orZero(in.Version),
	}, checkText("title", in.Title)
}

// oneCustomer returns the customer of the path that p may see.
func (a *api) oneCustomer(r *http.Request, p auth.Principal) (entity.Customer, error) {
	id, err := pathID(r, "customerId")
	if err != nil {
		return entity.Customer{}, err
	}
	return a.Guard.Customer(r.Context(), p, ident.CustomerID{ID: id})
}

func (a *api) customer(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return customerView(c), nil
}

func (a *api) customerShortInfo(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return struct {
		Title    string `json:"title"`
		IsPublic bool   `json:"isPublic"`
	}{c.Title, isPublic(c)}, nil
}

func (a *api) customerTitle(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return text(c.Title), nil
}

func (a *api) deleteCustomer(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.Customers.Delete(r.Context(), p.Tenant, c.ID)
}

func (a *api) listCustomers(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("customerIds") {
		return a.customersByID(r, p)
	}
	if !p.Is(entity.TenantAdmin) {
		return nil, auth.Denied()
	}
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Entities.Customers.List(r.Context(), p.Tenant, asked)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, customerView), nil
}

func (a *api) customersByID(r *http.Request, p auth.Principal) (any, error) {
	return listByID(r, "customerIds", customerView, func(id ident.ID) (entity.Customer, error) {
		return a.Guard.Customer(r.Context(), p, ident.CustomerID{ID: id})
	})
}

func (a *api) customerByTitle(r *http.Request, p auth.Principal) (any, error) {
	title := r.URL.Query().Get("customerTitle")
	if title == "" {
		return nil, invalid("customerTitle", "is required")
	}
	c, err := a.Entities.Customers.ByTitle(r.Context(), p.Tenant, title)
	if err != nil {
		return nil, err
	}
	return customerView(c), nil
}
